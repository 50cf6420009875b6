use super::*;

fn encoded(values: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    StreamEncoder::default().encode(values, &mut out);
    out
}

fn decoded(bytes: &[u8], count: usize) -> Result<Vec<u64>, FormatError> {
    let mut cursor = Cursor::new(bytes, 0);
    let mut out = Vec::new();
    decode(&mut cursor, count, &mut out)?;
    cursor.end("stream")?;
    Ok(out)
}

fn check(values: &[u64]) -> Vec<u8> {
    let bytes = encoded(values);
    assert_eq!(decoded(&bytes, values.len()).expect("a good stream"), values);
    bytes
}

#[test]
fn each_shape_has_its_bytes() {
    assert_eq!(check(&[]), []);
    assert_eq!(check(&[5]), [CONSTANT, 10]);
    assert_eq!(check(&[u64::MAX; 1000]), [CONSTANT, 1]);
    // 0, 3, 6, ...: a first value and a step.
    assert_eq!(check(&(0..1000).map(|i| i * 3).collect::<Vec<_>>()), [DELTA, 0, 6]);
    // Small values: base 7, one byte each.
    assert_eq!(check(&[7, 12, 7, 12, 7]), [OFFSET | 1 << 4, 14, 0, 5, 0, 5, 0]);
    // Around zero the signed reading is the narrow one.
    assert_eq!(check(&[u64::MAX, 4, u64::MAX, 4, u64::MAX]), [OFFSET | 1 << 4, 1, 0, 5, 0, 5, 0]);
    // Two planes: low bytes first.
    assert_eq!(check(&[0, 0x201, 0, 0x201]), [OFFSET | 2 << 4, 0, 0, 1, 0, 1, 0, 2, 0, 2]);
}

#[test]
fn ascending_values_become_deltas() {
    let values: Vec<u64> = (0..1000u64).map(|i| (1 << 50) + i * 1000 + i * i % 7).collect();
    let bytes = check(&values);
    assert_eq!(bytes[0], DELTA | 1 << 4);
    assert!(bytes.len() < 1020);
}

#[test]
fn few_distinct_values_become_a_dictionary() {
    let values: Vec<u64> =
        (0..1000u64).map(|i| [1 << 40, 17, u64::MAX, 3 << 50][(i * i % 7 % 4) as usize]).collect();
    let bytes = check(&values);
    assert_eq!(bytes[0], DICTIONARY | 1 << 4);
    assert!(bytes.len() < 1060);
    let values: Vec<u64> = (0..20_000u64).map(|i| (i * i % 701) << 45).collect();
    assert_eq!(check(&values)[0], DICTIONARY | 2 << 4);
}

#[test]
fn extremes_come_back() {
    for values in [
        &[0, u64::MAX][..],
        &[u64::MAX, 0],
        &[1 << 63, (1 << 63) - 1, 0],
        &[0, 1 << 63, u64::MAX, 5, 0],
        &[0; 70_000],
    ] {
        check(values);
    }
    let mut state = 1u64;
    let mut random: Vec<u64> = Vec::new();
    for i in 0..5000 {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        random.push(state >> (i % 64));
    }
    check(&random);
}

#[test]
fn bad_bytes_are_named() {
    let text = |bytes: &[u8], count| decoded(bytes, count).expect_err("a bad stream").to_string();
    assert_eq!(text(&[], 1), "at byte 0: encoded data ends too early: 0 bytes left, expected 1");
    assert_eq!(
        text(&[9, 0], 1),
        "at byte 0: encoding of a stream is 9, expected a known encoding with a width that it allows"
    );
    assert_eq!(text(&[OFFSET | 9 << 4, 0], 1)[..34], *"at byte 0: encoding of a stream is");
    assert_eq!(
        text(&[OFFSET | 2 << 4, 0, 1, 2, 3], 2),
        "at byte 0: encoded data ends too early: 3 bytes left, expected 4"
    );
    assert_eq!(
        text(&[DICTIONARY | 1 << 4, 1, CONSTANT, 0, 1], 1),
        "at byte 0: number of a dictionary entry is 1, expected below 1"
    );
    assert_eq!(
        text(&[DICTIONARY | 1 << 4, 2, CONSTANT, 0, 0], 1),
        "at byte 0: entries of a dictionary is 2, the limit is 1"
    );
    let nested = [DICTIONARY | 1 << 4, 1, DICTIONARY | 1 << 4, 1, CONSTANT, 0, 0, 0];
    assert!(text(&nested, 1).contains("encoding of a stream"));
    assert_eq!(
        text(&[CONSTANT, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], 1),
        "at byte 0: constant is 9223372036854775807, expected at most 64 bits"
    );
    // An empty dictionary has no value to give.
    assert!(text(&[DICTIONARY | 1 << 4, 0, 0], 1).contains("number of a dictionary entry"));
}
