use super::*;

#[test]
fn rings_are_powers_of_two_within_the_budget() {
    let gib = 1 << 30;
    // 1 % of 24 GiB on two CPUs would be 128 MB each.
    assert_eq!(ring_size(None, 24 * gib, 2), 8 << 20);
    // 1 % of 16 GiB on 128 CPUs is 1.3 MB each.
    assert_eq!(ring_size(None, 16 * gib, 128), 1 << 20);
    assert_eq!(ring_size(None, gib / 4, 64), RING_MIN);
    assert_eq!(ring_size(Some(1), gib, 2), RING_MIN);
    assert_eq!(ring_size(Some(5 << 20), gib, 2), 8 << 20);
    assert_eq!(ring_size(Some(64 << 20), gib, 2), 64 << 20);
}

#[test]
fn an_ambiguous_prefix_names_the_candidates() {
    let known = vec!["abc1".to_owned(), "abd2".to_owned(), "x".to_owned(), "xy".to_owned()];
    let check = |prefix: &str| check_prefixes(&ContainerFilter::new(vec![prefix.parse().unwrap()]), &known);
    assert!(check("abc").is_ok());
    assert!(check("nobody").is_ok());
    assert!(check("x").is_ok(), "a whole name wins over a longer one");
    let error = check("ab").unwrap_err().to_string();
    assert!(error.contains("abc1, abd2"), "{error}");
}
