use super::*;

#[test]
fn groups_are_in_order_of_key_and_row() {
    let keys = [7, 3, 7, u64::MAX, 3, 0];
    let groups = Groups::new(&keys, &mut Distinct::default());
    let found: Vec<Vec<u32>> = groups.iter().map(<[u32]>::to_vec).collect();
    assert_eq!(found, [vec![5], vec![1, 4], vec![0, 2], vec![3]]);
    assert_eq!(Groups::new(&[], &mut Distinct::default()).iter().count(), 0);
    assert_eq!(Groups::single(3).iter().map(<[u32]>::to_vec).collect::<Vec<_>>(), [vec![0, 1, 2]]);
    assert_eq!(Groups::single(0).iter().count(), 0);
}

#[test]
fn many_distinct_values_are_counted() {
    let mut distinct = Distinct::default();
    distinct.reset(1);
    for _ in 0..3 {
        for v in 0..10_000u64 {
            assert_eq!(distinct.add(v << 40), v as u32);
        }
    }
    assert_eq!(distinct.len(), 10_000);
    assert!(distinct.counts().iter().all(|&c| c == 3));
    let (ranks, order) = distinct.ranks();
    assert_eq!((ranks[5], order[9_999]), (5, 9_999));
}
