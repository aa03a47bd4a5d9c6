//! Serves the counters of a log on loopback, while it is replayed and while it is written.
//!
//! `cargo run -p wal-engine --features prometheus --example metrics -- data/wal [ADDRESS] [SECONDS]`, then
//! `curl http://127.0.0.1:9184/metrics`. ADDRESS is 127.0.0.1:9184 unless given, and port 0 takes any that
//! is free; without SECONDS it runs until it is interrupted.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{env, thread};

use wal_engine::prometheus_client::encoding::prometheus_text;
use wal_engine::prometheus_client::registry::Registry;
use wal_engine::{Sample, Wal, WalCollector, WalOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (dir, rest) = arguments.split_first().ok_or("usage: metrics LOG-DIRECTORY [ADDRESS] [SECONDS]")?;
    let address = rest.first().map_or("127.0.0.1:9184", String::as_str);
    let seconds: Option<u64> = rest.get(1).map(|text| text.parse()).transpose()?;

    let recovery = Wal::open(dir, WalOptions::default())?;
    let mut registry = Registry::default();
    registry.register_collector(Box::new(WalCollector::replaying(recovery.progress())));
    let (wal, _) = recovery.replay(&mut ())?;
    let wal = Arc::new(wal);
    registry.register_collector(Box::new(WalCollector::new(&wal)));

    let listener = TcpListener::bind(address)?;
    writeln!(io::stdout(), "metrics on http://{}/metrics", listener.local_addr()?)?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who asks and hangs up is no reason to stop.
            let _ = answer(stream, &registry);
        }
    });

    // Something to count: ten samples a tenth of a second, each batch durable.
    let end = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    while end.is_none_or(|end| Instant::now() < end) {
        let now_ms = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        let batch: Vec<Sample> = (1..=10).map(|series| Sample::new(series, now_ms, 1.0)).collect();
        wal.commit(wal.log_samples(&batch)?)?;
        thread::sleep(Duration::from_millis(100));
    }
    let wal = Arc::into_inner(wal).ok_or("someone still holds the log")?;
    Ok(wal.close()?)
}

/// As little HTTP as a scrape needs.
fn answer(stream: TcpStream, registry: &Registry) -> Result<(), Box<dyn Error>> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut lines = BufReader::new(&stream).lines();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let mut body = String::new();
    prometheus_text::encode(&mut body, registry)?;
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        prometheus_text::CONTENT_TYPE,
        body.len()
    );
    (&stream).write_all((head + &body).as_bytes())?;
    Ok(())
}
