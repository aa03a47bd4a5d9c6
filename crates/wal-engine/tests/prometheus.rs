//! The counters of a log as Prometheus reads them.
#![allow(missing_docs, clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use wal_engine::prometheus_client::encoding::prometheus_text;
use wal_engine::prometheus_client::registry::Registry;
use wal_engine::{Labels, Sample, Series, Wal, WalCollector, WalOptions};

fn registry_of(wal: &Arc<Wal>) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(WalCollector::new(wal)));
    registry
}

fn text_of(registry: &Registry) -> String {
    let mut text = String::new();
    prometheus_text::encode(&mut text, registry).unwrap();
    text
}

fn value(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

#[test]
fn a_scrape_tells_what_was_logged_and_what_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) = Wal::open(dir.path(), WalOptions::default()).unwrap().replay(&mut ()).unwrap();
    let wal = Arc::new(wal);
    let registry = registry_of(&wal);
    wal.log_series(&[Series::new(1, Labels::from_pairs([("__name__", "up")]))]).unwrap();
    wal.log_samples(&[Sample::new(1, 1000, 1.0)]).unwrap();
    let before = text_of(&registry);
    assert!(0.0 < value(&before, "wal_durable_lag_bytes"), "{before}");
    wal.sync().unwrap();
    let after = text_of(&registry);
    for (name, wanted) in [
        ("wal_appended_entries_total{type=\"series\"}", 1.0),
        ("wal_appended_entries_total{type=\"samples\"}", 1.0),
        ("wal_appended_entries_total{type=\"deletes\"}", 0.0),
        ("wal_durable_lag_bytes", 0.0),
        ("wal_segment_current", 1.0),
        ("wal_poisoned", 0.0),
        ("prometheus_tsdb_wal_corruptions_total", 0.0),
    ] {
        assert_eq!(value(&after, name), wanted, "{name}");
    }
    let syncs = value(&after, "prometheus_tsdb_wal_fsync_duration_seconds_count");
    assert!(1.0 <= syncs, "{after}");
    assert_eq!(value(&after, "prometheus_tsdb_wal_fsync_duration_seconds_bucket{le=\"+Inf\"}"), syncs);
}

#[test]
fn a_log_that_is_closed_is_let_go_of() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) = Wal::open(dir.path(), WalOptions::default()).unwrap().replay(&mut ()).unwrap();
    let wal = Arc::new(wal);
    let registry = registry_of(&wal);
    Arc::into_inner(wal).expect("the collector must not keep the log open").close().unwrap();
    assert!(!text_of(&registry).contains("wal_"), "{}", text_of(&registry));
}

#[test]
fn replay_progress_reaches_its_total() {
    let dir = tempfile::tempdir().unwrap();
    let options = WalOptions::default().segment_bytes_max(4096);
    let (wal, _) = Wal::open(dir.path(), options.clone()).unwrap().replay(&mut ()).unwrap();
    for at_ms in 0..1000 {
        wal.log_samples(&[Sample::new(1, at_ms, 1.0)]).unwrap();
    }
    wal.close().unwrap();
    let recovery = Wal::open(dir.path(), options).unwrap();
    let progress = recovery.progress();
    let mut registry = Registry::default();
    registry.register_collector(Box::new(WalCollector::replaying(progress.clone())));
    assert_eq!(value(&text_of(&registry), "wal_replay_done_bytes"), 0.0);
    let (_wal, report) = recovery.replay(&mut ()).unwrap();
    assert!(1 < report.segments);
    assert_eq!(progress.done_bytes(), progress.total_bytes());
    let text = text_of(&registry);
    assert_eq!(value(&text, "wal_replay_done_bytes"), value(&text, "wal_replay_total_bytes"));
}

/// Ends the example also when the test fails.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The example as a user runs it, scraped over loopback, and what it says judged by Prometheus' own
/// linter, which must be there: Debian's package `prometheus` has it.
#[test]
fn the_example_serves_what_promtool_accepts() {
    let dir = tempfile::tempdir().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "run",
        "--quiet",
        "--package",
        "wal-engine",
        "--features",
        "prometheus",
        "--example",
        "metrics",
        "--",
    ]);
    cargo.arg(dir.path().join("wal")).args(["127.0.0.1:0", "600"]);
    let mut served = Served(cargo.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(served.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address =
        line.trim().strip_prefix("metrics on http://").and_then(|rest| rest.strip_suffix("/metrics"));
    let mut stream = TcpStream::connect(address.expect(&line)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: loopback\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK") && body.contains("wal_replay_done_bytes"), "{reply}");

    let mut linter = Command::new("promtool");
    linter.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut linter = linter.spawn().expect("promtool is missing: apt-get install prometheus");
    linter.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let judged = linter.wait_with_output().unwrap();
    let said = [judged.stdout, judged.stderr].concat();
    assert!(judged.status.success(), "{}\n{body}", String::from_utf8_lossy(&said));
}
