use super::*;

fn of_rounds(ratios: &[f64]) -> Comparison {
    Comparison::of_rounds("getppid", "time", ratios, 0.02).unwrap()
}

fn rate(recorder: &'static str, lossless: f64, lossy: Option<f64>) -> MaxRate {
    MaxRate { recorder, busy: 2, lossless, lossy, probes: Vec::new() }
}

#[test]
fn a_clear_regression_is_worse() {
    let compared = of_rounds(&[1.31, 1.27, 1.32, 1.30, 1.31]);
    assert_eq!(compared.verdict, Verdict::Worse);
    assert_eq!(compared.ratio, 1.31);
    assert!((0.02..0.04).contains(&compared.noise), "{}", compared.noise);
}

#[test]
fn a_clear_improvement_is_better() {
    assert_eq!(of_rounds(&[0.70, 0.72, 0.71]).verdict, Verdict::Better);
}

#[test]
fn a_difference_within_the_noise_of_the_rounds_is_none() {
    // The median is 5% above 1, but the rounds differ by as much, in both directions.
    let compared = of_rounds(&[1.05, 0.96, 1.12, 1.06, 0.98]);
    assert_eq!(compared.verdict, Verdict::Same);
    assert!(compared.noise > 0.05, "{}", compared.noise);
}

#[test]
fn all_rounds_on_one_side_are_not_enough_if_they_differ_much() {
    assert_eq!(of_rounds(&[1.02, 1.20, 1.07]).verdict, Verdict::Same);
}

#[test]
fn a_steady_difference_below_the_least_noise_is_none() {
    assert_eq!(of_rounds(&[1.015, 1.016, 1.015, 1.014, 1.015]).verdict, Verdict::Same);
    assert_eq!(of_rounds(&[1.025, 1.026, 1.025, 1.024, 1.025]).verdict, Verdict::Worse);
}

#[test]
fn more_rounds_show_smaller_differences() {
    let rounds = [1.01, 1.09, 1.05];
    assert_eq!(of_rounds(&rounds).verdict, Verdict::Same);
    assert_eq!(of_rounds(&rounds.repeat(4)).verdict, Verdict::Worse);
}

#[test]
fn nothing_follows_from_one_round() {
    let compared = of_rounds(&[3.0]);
    assert_eq!(compared.verdict, Verdict::Same);
    assert_eq!(compared.short(), "time 3.00 (noise unknown)");
    assert_eq!(Comparison::of_rounds("getppid", "time", &[], 0.02), None);
}

#[test]
fn the_noise_is_the_one_of_students_t() {
    // Logarithms 0, 0.1 and 0.2: mean 0.1, standard deviation 0.1.
    let ratios = [0.0f64, 0.1, 0.2].map(f64::exp);
    let expected = (6.965 * 0.1 / 3f64.sqrt()).exp() - 1.0;
    assert!((chance(&ratios) - expected).abs() < 1e-9, "{}", chance(&ratios));
}

#[test]
fn a_rate_is_worse_if_it_is_lower_by_more_than_the_last_steps() {
    let row = || "max-rate".to_owned();
    let other = rate("other-ktape", 1e6, Some(1.05e6));
    let verdict = |own: &MaxRate| Comparison::of_rates(row(), own, &other).verdict;
    assert_eq!(verdict(&rate("ktape", 0.7e6, Some(0.735e6))), Verdict::Worse);
    assert_eq!(verdict(&rate("ktape", 0.95e6, Some(1.0e6))), Verdict::Same);
    assert_eq!(verdict(&rate("ktape", 1.3e6, Some(1.36e6))), Verdict::Better);
    // The last steps are too wide for a statement.
    assert_eq!(verdict(&rate("ktape", 0.7e6, Some(1.0e6))), Verdict::Same);
    // Nothing is lost at any rate.
    assert_eq!(verdict(&rate("ktape", 0.7e6, None)), Verdict::Same);
}

#[test]
fn only_what_is_worse_twice_is_a_regression() {
    let (worse, same) = (of_rounds(&[1.3, 1.3, 1.3]), of_rounds(&[1.0, 1.0, 1.0]));
    let verdict = |first: &Comparison, second: &Comparison| {
        confirmed(std::slice::from_ref(first), vec![second.clone()])[0].verdict
    };
    assert_eq!(verdict(&worse, &worse), Verdict::Worse);
    assert_eq!(verdict(&worse, &same), Verdict::Same);
    assert_eq!(verdict(&same, &worse), Verdict::Same);
}

#[test]
fn the_message_names_rows_and_figures() {
    let time = of_rounds(&[1.3, 1.3, 1.3]);
    let cpu = Comparison::of_rounds("getppid", "recorder CPU", &[1.2, 1.2], 0.05).unwrap();
    let fine = Comparison::of_rounds("pipe", "time", &[1.0, 1.0], 0.02).unwrap();
    let all = [time, cpu, fine];
    assert_eq!(
        verdict(&all, "/old/ktape").unwrap_err().to_string(),
        "worse than /old/ktape:\n  \
         getppid: time is 1.30 times the other's, with a noise of 2%\n  \
         getppid: recorder CPU is 1.20 times the other's, with a noise of 5%"
    );
    assert_eq!(
        lines(&all),
        [
            "getppid: time 1.30 (noise 2%) WORSE, recorder CPU 1.20 (noise 5%) WORSE",
            "pipe: time 1.00 (noise 2%)",
        ]
    );
    assert!(verdict(&all[2..], "/old/ktape").is_ok());
}
