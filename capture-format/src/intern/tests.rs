use super::*;

#[test]
fn equal_strings_have_equal_numbers_and_come_back() {
    let mut interner = Interner::new();
    assert_eq!(interner.intern(b""), StrId::EMPTY);
    let strings: Vec<Vec<u8>> = (0..5000u32).map(|i| vec![i as u8; (i % 37) as usize + 1]).collect();
    let first: Vec<StrId> = strings.iter().map(|s| interner.intern(s)).collect();
    let again: Vec<StrId> = strings.iter().map(|s| interner.intern(s)).collect();
    assert_eq!(first, again);
    assert!(strings.iter().zip(&first).all(|(s, &id)| interner.str(id) == s));
    let distinct: std::collections::HashSet<&Vec<u8>> = strings.iter().collect();
    assert_eq!(interner.ends().len(), distinct.len());
    assert_eq!(interner.str(StrId(99_999)), b"");
    let copy = interner.into_strings();
    assert_eq!(copy.len(), distinct.len() + 1);
    assert!(strings.iter().zip(&first).all(|(s, &id)| copy.get(id) == s));
    assert_eq!((copy.get(StrId(0)), copy.get(StrId(99_999))), (&b""[..], &b""[..]));
}

#[test]
fn clearing_forgets_all() {
    let mut interner = Interner::new();
    assert_eq!(interner.intern(b"one"), StrId(1));
    interner.clear();
    assert_eq!(interner.intern(b"two"), StrId(1));
    assert_eq!(interner.intern(b"one"), StrId(2));
    assert_eq!(interner.str(StrId(1)), b"two");
}

#[test]
fn strings_that_differ_in_one_place_differ() {
    let mut interner = Interner::new();
    let mut ids = std::collections::HashSet::new();
    for len in 1..40 {
        for place in 0..len {
            let mut s = vec![0; len];
            s[place] = 1;
            assert!(ids.insert(interner.intern(&s)));
        }
    }
}
