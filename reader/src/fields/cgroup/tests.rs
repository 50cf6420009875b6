use super::*;

#[test]
fn the_name_of_an_image_has_a_repository_a_tag_and_a_digest() {
    let parts = |name: &'static str| {
        let Image { repository, tag, digest } = Image::parse(name.as_bytes());
        let text = |bytes| std::str::from_utf8(bytes).unwrap();
        (text(repository), tag.map(text), digest.map(text))
    };
    assert_eq!(parts("nginx"), ("nginx", None, None));
    assert_eq!(parts("nginx:1.27"), ("nginx", Some("1.27"), None));
    assert_eq!(parts("registry:5000/a/nginx"), ("registry:5000/a/nginx", None, None));
    assert_eq!(parts("registry:5000/a/nginx:1"), ("registry:5000/a/nginx", Some("1"), None));
    assert_eq!(parts("docker.io/x@sha256:00ff"), ("docker.io/x", None, Some("sha256:00ff")));
    assert_eq!(parts("x:1@sha256:00ff"), ("x", Some("1"), Some("sha256:00ff")));
}
