//! j. Needless connections: who makes them, how many a second, for how long, and for how many bytes?

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use ktape_tests::container::{Options, Runtime, on_host_network};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::workload;

use super::{cgroup, ended, id};

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn j_needless_connections() {
    let _guard = Guard::exclusive();
    let runtime = Runtime::new(&[workload!()]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Answers with as many bytes as it is sent.
    let server = thread::spawn(move || {
        let mut all = 0;
        for _ in 0..160 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut data = [0u8; 4_096];
            while let Ok(n @ 1..) = stream.read(&mut data) {
                all += n;
                stream.write_all(&data[..n]).unwrap();
            }
        }
        all
    });
    let capture = Capture::start(&file, &[]);
    let run = |digit: char, name: &str, bytes: &str, n: &str, ms: &str| {
        let to = address.to_string();
        let args = ["/bin/ktape-workload", "incident", "dial", &to, n, bytes, ms];
        let options = Options { cgroup: &cgroup(digit), args: &args, seccomp: false };
        let container = runtime.start_with(name, &options, on_host_network);
        ended(&container);
        assert_eq!(container.output().trim(), n);
    };
    // One connection for each of many small questions, and some for nothing.
    run('b', "chatty", "12", "100", "5");
    run('c', "idle", "0", "40", "20");
    run('d', "bulk", "3000", "20", "50");
    let received = server.join().unwrap() as i64;
    capture.stop();

    let by = ["tcp-clients", "--by", "container.id,net.remote"];
    let rows = ktape::stats_json(&file, &by);
    eprintln!("{rows:#?}");
    let mut sent = 0;
    for (digit, n, bytes, ms) in [('b', 100, 12, 5), ('c', 40, 0, 20), ('d', 20, 3_000, 50)] {
        let short = &id(digit)[..12];
        let row = rows.iter().find(|row| text(row, "container.id") == Some(short)).unwrap();
        assert_eq!(text(row, "net.remote"), Some(&*address.to_string()), "{row}");
        assert_eq!(int(row, "connections"), Some(n), "{row}");
        assert_eq!((int(row, "sent"), int(row, "received")), (Some(n * bytes), Some(n * bytes)), "{row}");
        assert_eq!(int(row, "without data"), Some(if bytes == 0 { n } else { 0 }), "{row}");
        assert_eq!((int(row, "failed"), int(row, "processes")), (Some(0), Some(1)), "{row}");
        let life = int(row, "p50 life").unwrap();
        assert!((ms * 950_000..(ms + 60) * 1_000_000).contains(&life), "{row}");
        sent += int(row, "sent").unwrap();
    }
    // The server's own count.
    assert_eq!(sent, received);
    let rates = rows.iter().map(|row| row["per second"].as_f64().unwrap());
    assert!({ rates }.sum::<f64>() > 1.0, "{rows:#?}");
}
