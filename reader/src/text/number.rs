//! Fast conversion of integers to text, since the views write millions of them.

/// Appends `value` in decimal.
pub fn decimal(value: u64, out: &mut Vec<u8>) {
    const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
        2021222324252627282930313233343536373839\
        4041424344454647484950515253545556575859\
        6061626364656667686970717273747576777879\
        8081828384858687888990919293949596979899";
    let mut buffer = [0u8; 20];
    let mut at = buffer.len();
    let mut rest = value;
    while rest >= 100 {
        let pair = (rest % 100) as usize * 2;
        rest /= 100;
        at -= 2;
        buffer[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if rest >= 10 {
        let pair = rest as usize * 2;
        at -= 2;
        buffer[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    } else {
        at -= 1;
        buffer[at] = b'0' + rest as u8;
    }
    out.extend_from_slice(&buffer[at..]);
}

/// Appends `value` in decimal, with a sign if it is negative.
pub fn signed(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    decimal(value.unsigned_abs(), out);
}

/// Appends a number of hundredths with two decimals, as `uptime` prints a load average: `1.77`.
pub fn hundredths(value: i128, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let value = u64::try_from(value.unsigned_abs()).unwrap_or(u64::MAX);
    decimal(value / 100, out);
    let rest = (value % 100) as u8;
    out.extend_from_slice(&[b'.', b'0' + rest / 10, b'0' + rest % 10]);
}

/// Reads a number with at most two decimals as hundredths: `1.5` is 150.
pub fn parse_hundredths(text: &str) -> Option<i128> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_decimal = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_decimal(whole) || !is_decimal(decimals) || decimals.len() > 2 {
        return None;
    }
    let hundredths = format!("{decimals:0<2}").parse::<i128>().ok()?;
    let value = i128::from(whole.parse::<u64>().ok()?) * 100 + hundredths;
    Some(if is_negative { -value } else { value })
}

/// Appends `value` as `0x...` in lower case.
pub fn hex(value: u64, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"0x");
    let digits = (64 - value.leading_zeros()).div_ceil(4).max(1);
    for i in (0..digits).rev() {
        out.push(DIGITS[(value >> (i * 4)) as usize & 15]);
    }
}

/// Appends `value` in octal with a leading 0.
pub fn octal(value: u64, out: &mut Vec<u8>) {
    out.push(b'0');
    let digits = (64 - value.leading_zeros()).div_ceil(3);
    for i in (0..digits).rev() {
        out.push(b'0' + ((value >> (i * 3)) & 7) as u8);
    }
}

/// Appends `value` with exactly nine digits; it must be below 10^9.
pub fn nanos(value: u32, out: &mut Vec<u8>) {
    let mut buffer = [b'0'; 9];
    let mut rest = value;
    for digit in buffer.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&buffer);
}

/// Parses a decimal number, or a hexadecimal one after `0x`, with an optional minus sign.
pub fn parse(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if !digits.as_bytes().first()?.is_ascii_digit() {
        return None;
    }
    let value = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) if hex.bytes().all(|b| b.is_ascii_hexdigit()) => u64::from_str_radix(hex, 16).ok()?,
        Some(_) => return None,
        None => digits.parse::<u64>().ok()?,
    };
    Some(if negative { -i128::from(value) } else { i128::from(value) })
}

#[cfg(test)]
mod tests;
