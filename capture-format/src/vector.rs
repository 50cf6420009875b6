//! The loops over all values of a column, each compiled twice on x86-64: for any CPU and for those with AVX2. Which one
//! runs is decided at run time.

/// The least and the greatest of some values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extremes<T> {
    pub min: T,
    pub max: T,
}

/// Declares a function with a second version for CPUs that have AVX2, with the same body.
macro_rules! vectorised {
    ($(#[doc = $doc:literal])+ fn $name:ident($($arg:ident: $ty:ty),*) $(-> $result:ty)? $body:block) => {
        $(#[doc = $doc])+
        pub(crate) fn $name($($arg: $ty),*) $(-> $result)? {
            #[inline(always)]
            fn body($($arg: $ty),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
            fn wide($($arg: $ty),*) $(-> $result)? {
                body($($arg),*)
            }

            #[cfg(target_arch = "x86_64")]
            if std::is_x86_feature_detected!("avx2")
                && std::is_x86_feature_detected!("bmi1")
                && std::is_x86_feature_detected!("bmi2")
                && std::is_x86_feature_detected!("lzcnt")
            {
                // SAFETY: the CPU has the features that the function was compiled for.
                return unsafe { wide($($arg),*) };
            }
            body($($arg),*)
        }
    };
}

vectorised! {
    /// The extremes of the values, read as unsigned numbers; of none, `u64::MAX` and 0.
    fn extremes(values: &[u64]) -> Extremes<u64> {
        values.iter().fold(Extremes { min: u64::MAX, max: 0 }, |found, &v| Extremes {
            min: found.min.min(v),
            max: found.max.max(v),
        })
    }
}

vectorised! {
    /// The extremes of the values, read as signed numbers; of none, `i64::MAX` and `i64::MIN`.
    fn extremes_signed(values: &[u64]) -> Extremes<i64> {
        values.iter().fold(Extremes { min: i64::MAX, max: i64::MIN }, |found, &v| Extremes {
            min: found.min.min(v as i64),
            max: found.max.max(v as i64),
        })
    }
}

vectorised! {
    /// The extremes of the differences between neighbours; of fewer than two values, `i64::MAX` and `i64::MIN`.
    fn extremes_of_deltas(values: &[u64]) -> Extremes<i64> {
        let pairs = values.iter().zip(values.get(1..).unwrap_or_default());
        pairs.fold(Extremes { min: i64::MAX, max: i64::MIN }, |found, (&previous, &v)| {
            let delta = v.wrapping_sub(previous) as i64;
            Extremes { min: found.min.min(delta), max: found.max.max(delta) }
        })
    }
}

vectorised! {
    /// Appends the planes of the values less `base`: the lowest byte of all of them, then the next byte of all, up to `width`.
    fn planes(out: &mut Vec<u8>, width: u8, values: &[u64], base: u64) {
        for plane in 0..u32::from(width) {
            out.extend(values.iter().map(|v| (v.wrapping_sub(base) >> (8 * plane)) as u8));
        }
    }
}

vectorised! {
    /// Appends the planes of the differences between neighbours less `base`, as [`planes`] does.
    fn planes_of_deltas(out: &mut Vec<u8>, width: u8, values: &[u64], base: u64) {
        let later = values.get(1..).unwrap_or_default();
        for plane in 0..u32::from(width) {
            let deltas = values.iter().zip(later).map(|(previous, v)| v.wrapping_sub(*previous).wrapping_sub(base));
            out.extend(deltas.map(|delta| (delta >> (8 * plane)) as u8));
        }
    }
}

#[cfg(test)]
mod tests;
