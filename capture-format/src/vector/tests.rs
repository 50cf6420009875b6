use super::*;

/// Numbers of all widths, in an order without a pattern.
fn numbers(count: usize) -> Vec<u64> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..count).map(|_| next() >> (next() % 64)).collect()
}

/// Lengths around those that vectors are filled with.
const LENGTHS: [usize; 9] = [0, 1, 2, 3, 4, 7, 64, 65, 1003];

#[test]
fn extremes_are_the_least_and_the_greatest() {
    for length in LENGTHS {
        let values = numbers(length);
        let found = extremes(&values);
        let [least, greatest] = [values.iter().min(), values.iter().max()].map(|v| v.copied());
        assert_eq!((found.min, found.max), (least.unwrap_or(u64::MAX), greatest.unwrap_or(0)));

        let signed = || values.iter().map(|&v| v as i64);
        let found = extremes_signed(&values);
        assert_eq!(found.min, signed().min().unwrap_or(i64::MAX));
        assert_eq!(found.max, signed().max().unwrap_or(i64::MIN));

        let deltas = || values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]) as i64);
        let found = extremes_of_deltas(&values);
        assert_eq!(found.min, deltas().min().unwrap_or(i64::MAX));
        assert_eq!(found.max, deltas().max().unwrap_or(i64::MIN));
    }
}

#[test]
fn planes_are_the_bytes_by_their_place() {
    for length in LENGTHS {
        let values = numbers(length);
        for width in 0..=8 {
            let mut expected = vec![7];
            let mut found = expected.clone();
            for plane in 0..usize::from(width) {
                expected.extend(values.iter().map(|v| v.wrapping_sub(5).to_le_bytes()[plane]));
            }
            planes(&mut found, width, &values, 5);
            assert_eq!(found, expected);

            expected.truncate(1);
            found.truncate(1);
            for plane in 0..usize::from(width) {
                let deltas = values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]).wrapping_sub(5));
                expected.extend(deltas.map(|delta| delta.to_le_bytes()[plane]));
            }
            planes_of_deltas(&mut found, width, &values, 5);
            assert_eq!(found, expected);
        }
    }
}
