//! Numbers as pictures made of characters: sparklines, bars, heatmaps.

/// Which characters pictures are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    /// Block elements.
    Unicode,
    /// ASCII alone, for terminals without UTF-8.
    Ascii,
}

impl Ink {
    /// From least to most, for one character.
    fn levels(self) -> &'static [char] {
        match self {
            Self::Unicode => &['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'],
            Self::Ascii => &['_', '.', '-', '=', '+', '*', '#', '@'],
        }
    }

    /// From least to most, for areas.
    fn shades(self) -> &'static [char] {
        match self {
            Self::Unicode => &['░', '▒', '▓', '█'],
            Self::Ascii => &['.', ':', '*', '#'],
        }
    }

    /// A part (0 to 1) of a character's width, from nothing to almost all.
    fn eighths(self) -> &'static [char] {
        match self {
            Self::Unicode => &['▏', '▎', '▍', '▌', '▋', '▊', '▉'],
            Self::Ascii => &[],
        }
    }

    fn full(self) -> char {
        match self {
            Self::Unicode => '█',
            Self::Ascii => '#',
        }
    }
}

/// The one of `steps` that stands for a part, 0 to 1.
fn step(steps: &[char], part: f64) -> char {
    let at = (part * steps.len() as f64) as usize;
    steps[at.min(steps.len() - 1)]
}

/// One character for each number, from 0 to the greatest one; a space for a number that is missing or 0.
pub fn sparkline(numbers: &[Option<f64>], ink: Ink) -> String {
    let greatest = numbers.iter().flatten().copied().fold(0.0, f64::max);
    let character = |number: &Option<f64>| match number {
        Some(number) if *number > 0.0 => step(ink.levels(), number / greatest),
        _ => ' ',
    };
    numbers.iter().map(character).collect()
}

/// At most `width` numbers: the greatest one of each stretch, so that no peak is hidden.
pub fn narrowed(numbers: &[Option<f64>], width: usize) -> Vec<Option<f64>> {
    let stretch = numbers.len().div_ceil(width.max(1)).max(1);
    let greatest = |part: &[Option<f64>]| part.iter().flatten().copied().reduce(f64::max);
    numbers.chunks(stretch).map(greatest).collect()
}

/// A bar for a part, 0 to 1, of `width` characters; anything above 0 is visible.
pub fn bar(part: f64, width: usize, ink: Ink) -> String {
    let length = part.clamp(0.0, 1.0) * width as f64;
    let mut bar: String = std::iter::repeat_n(ink.full(), length as usize).collect();
    let eighths = (length.fract() * 8.0) as usize;
    match (eighths.checked_sub(1), ink.eighths()) {
        (Some(at), [_, ..]) => bar.push(ink.eighths()[at]),
        _ if bar.is_empty() && part > 0.0 => bar.push(ink.eighths().first().copied().unwrap_or('.')),
        _ => {}
    }
    bar
}

/// A shade for each count, by its logarithm, so that few events are visible beside many; a space for none.
pub fn shades(counts: &[f64], greatest: f64, ink: Ink) -> String {
    let shade = |count: &f64| match *count {
        count if count >= 1.0 && greatest > 1.0 => step(ink.shades(), count.ln() / greatest.ln()),
        count if count > 0.0 => ink.shades()[0],
        _ => ' ',
    };
    counts.iter().map(shade).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparklines_go_from_zero_to_the_greatest_number() {
        let numbers = [Some(0.0), None, Some(1.0), Some(4.0), Some(8.0)];
        assert_eq!(sparkline(&numbers, Ink::Unicode), "  ▂▅█");
        assert_eq!(sparkline(&numbers, Ink::Ascii), "  .+@");
        assert_eq!(sparkline(&[], Ink::Unicode), "");
        assert_eq!(sparkline(&[Some(0.0)], Ink::Unicode), " ");
    }

    #[test]
    fn peaks_survive_when_there_are_too_many_numbers() {
        let mut numbers = vec![Some(1.0); 100];
        numbers[57] = Some(50.0);
        numbers[10] = None;
        let narrow = narrowed(&numbers, 20);
        assert_eq!(narrow.len(), 20);
        assert_eq!(narrow[11], Some(50.0));
        assert_eq!(narrow.iter().filter(|number| **number == Some(1.0)).count(), 19);
        assert_eq!(narrowed(&numbers[..3], 20).len(), 3);
        assert_eq!(narrowed(&[None, None], 1), [None]);
    }

    #[test]
    fn bars_show_eighths_and_anything_above_nothing() {
        assert_eq!(bar(1.0, 4, Ink::Unicode), "████");
        assert_eq!(bar(0.5, 4, Ink::Unicode), "██");
        assert_eq!(bar(0.53125, 4, Ink::Unicode), "██▏");
        assert_eq!(bar(0.0001, 4, Ink::Unicode), "▏");
        assert_eq!(bar(0.0, 4, Ink::Unicode), "");
        assert_eq!(bar(7.0, 4, Ink::Ascii), "####");
        assert_eq!(bar(0.0001, 4, Ink::Ascii), ".");
    }

    #[test]
    fn shades_are_by_magnitude() {
        assert_eq!(shades(&[0.0, 1.0, 100.0, 10_000.0], 10_000.0, Ink::Unicode), " ░▓█");
        assert_eq!(shades(&[0.0, 1.0], 1.0, Ink::Ascii), " .");
    }
}
