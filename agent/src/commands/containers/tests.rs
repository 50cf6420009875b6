use super::*;

fn row(id: &str, attributes: &[(&str, &str)]) -> Row {
    Row {
        host: "h".into(),
        id: id.into(),
        runtime: "docker".into(),
        attributes: attributes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        processes: 2,
        ..Row::default()
    }
}

const LONG: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn rows() -> Vec<Row> {
    let mut web = row(
        LONG,
        &[
            ("container.name", "web"),
            ("container.image", "nginx:1"),
            ("container.label[app]", "x,y"),
            ("container.memory.limit", "67108864"),
            ("container.cpu.limit", "1500"),
            ("k8s.pod.label[app]", "pod's"),
            ("k8s.pod.label[zone]", "a \u{1b}[2J"),
            ("k8s.pod.name", "web-0"),
            ("k8s.ns.name", "shop"),
        ],
    );
    (web.born, web.died, web.exit_code) = (Some(0), Some(1_000_000_000), Some(137));
    (web.oom_kills, web.events) = (1, 1234);
    vec![web, row("redis", &[])]
}

#[test]
fn a_table_has_no_empty_columns() {
    let mut out = Vec::new();
    print::table(&rows(), &jiff::tz::TimeZone::UTC, false, &mut out);
    let text = String::from_utf8(out).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    let words = |line: &str| {
        line.split("  ").map(str::trim).filter(|w| !w.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let head = [
        "ID",
        "NAME",
        "RUNTIME",
        "IMAGE",
        "POD",
        "BORN",
        "DIED",
        "EXIT",
        "OOM",
        "PROCESSES",
        "EVENTS",
        "LABELS",
    ];
    assert_eq!(words(lines[0]), head);
    let web = words(lines[1]);
    assert_eq!(web[..5], ["001122334455", "web", "docker", "nginx:1", "shop/web-0"]);
    assert_eq!(web[7..11], ["137", "1", "2", "1,234"]);
    // The container's own label wins, and control characters are escaped.
    assert_eq!(web[11], "app=x,y zone=a \\e[2J");
    assert!(!text.contains('\u{1b}'));
    assert_eq!(words(lines[2])[..3], ["redis", "redis", "docker"]);
}

#[test]
fn csv_is_quoted_and_json_has_all_fields() {
    let mut out = Vec::new();
    print::csv(&rows(), &mut out);
    let text = String::from_utf8(out).unwrap();
    let second = text.lines().nth(1).unwrap();
    assert!(
        second.starts_with(&format!("h,{LONG},web,docker,nginx:1,shop/web-0,\"app=x,y,zone=a ")),
        "{second}"
    );
    assert!(
        second.ends_with(
            "1970-01-01T00:00:00.000000000Z,1970-01-01T00:00:01.000000000Z,137,1,2,1234,67108864,1500,,"
        ),
        "{second}"
    );
    let mut out = Vec::new();
    print::json(&rows(), &mut out);
    let text = String::from_utf8(out).unwrap();
    let web: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((web["labels"]["app"].as_str(), web["exit_code"].as_i64()), (Some("x,y"), Some(137)));
    let redis: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    assert_eq!((redis["name"].as_str(), redis.get("born")), (Some("redis"), None));
}

#[test]
fn containers_are_selected_by_name_id_and_attributes() {
    let matching = |text: &str| -> Vec<String> {
        let wanted = [text.parse().unwrap()];
        rows().into_iter().filter(|row| row.matches_any(&wanted)).map(|row| row.name().to_owned()).collect()
    };
    assert_eq!(matching("redis"), ["redis"]);
    assert_eq!(matching("0011"), ["web"]);
    assert_eq!(matching("pod:shop/*"), ["web"]);
    assert_eq!(matching("label:app=pod's"), ["web"]);
    assert_eq!(matching("other"), Vec::<String>::new());
}
