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

#[test]
fn a_mount_has_two_paths_and_three_attributes() {
    let parts = |text: &'static str| {
        let Mount { source, destination, mode, is_writable, propagation, .. } =
            Mount::parse(text.as_bytes())?;
        Some(
            [source, destination, mode, is_writable, propagation]
                .map(|part| std::str::from_utf8(part).unwrap()),
        )
    };
    assert_eq!(
        parts("/srv/a:/data:ro,z:false:rprivate"),
        Some(["/srv/a", "/data", "ro,z", "false", "rprivate"])
    );
    assert_eq!(parts("/a:b:/c d::true:"), Some(["/a:b", "/c d", "", "true", ""]));
    assert_eq!(parts(":/run::true:"), Some(["", "/run", "", "true", ""]), "a tmpfs");
    assert_eq!(parts("/srv:true:"), None);
}

/// The value of a field of a container with these attributes.
fn value_of(field: &str, attributes: &[(&str, &str)]) -> String {
    use std::sync::Arc;

    use crate::model::testing::{TestChunk, call, header, id};
    use crate::model::{Binding, Context, Event};

    let head = header(1);
    let mut chunk = TestChunk::new(&head);
    let web = chunk.cgroup(7, "/docker", &[id('a')]);
    let task = chunk.task(10, 10, "nginx", web);
    chunk.call(1_000, task, &call("getppid", &[], 1));
    let chunk = chunk.chunk();
    let mut names = ContainerNames::default();
    names.add(&capture_format::MetadataRecord {
        key: MetadataKey { boot_id: head.boot_id, cgroup: 7, birth: 0 },
        values: attributes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    });
    let binding = Binding::new(Arc::new(head));
    let view = ChunkView::open(&chunk, &binding).unwrap();
    let context = Context { names: &names, start: 0 };
    let rows = view.tables().find(|rows| rows.len() == 1).unwrap();
    let (field, _) = crate::fields::lookup(field).unwrap();
    let mut scratch = Vec::new();
    crate::fields::values::value(Event::new(&context, &view, rows, 0), &field, &mut scratch).to_string()
}

#[test]
fn mounts_are_found_by_number_and_by_path() {
    let mounts = [
        ("container.mount[0]", "/srv/a:/data:z:false:rprivate"),
        ("container.mount[1]", "/proc/1/fd:/fds::true:rslave"),
    ];
    for (field, expected) in [
        ("container.mount[0]", "/srv/a:/data:z:false:rprivate"),
        ("container.mount[/proc*]", "/proc/1/fd:/fds::true:rslave"),
        ("container.mount.dest[/proc*]", "/fds"),
        ("container.mount.dest[/srv/a]", "/data"),
        ("container.mount.source[/fds]", "/proc/1/fd"),
        ("container.mount.source[0]", "/srv/a"),
        ("container.mount.mode[0]", "z"),
        ("container.mount.rdwr[1]", "true"),
        ("container.mount.propagation[/srv/*]", "rprivate"),
        ("container.mount.dest[/srv]", "N/A"),
        ("container.mount[2]", "N/A"),
    ] {
        assert_eq!(value_of(field, &mounts), expected, "{field}");
    }
    assert_eq!(value_of("container.privileged", &[("container.privileged", "true")]), "true");
    assert_eq!(value_of("container.privileged", &[]), "");
}
