//! A real Prometheus over a data directory of ours: started, asked, and stopped again, that process only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::expectation::LabelSet;
use crate::{Outcome, cmd, http};

const READY_WITHIN: Duration = Duration::from_secs(60);
const STOPPED_WITHIN: Duration = Duration::from_secs(60);
const POLL_EVERY: Duration = Duration::from_millis(100);

/// A running server. Dropping it kills it: no check leaves a process behind.
pub(crate) struct Prometheus {
    child: Child,
    port: u16,
    log: PathBuf,
}

/// Fails with the way to install it where Prometheus is missing or too new to read the old log.
pub(crate) fn need() -> Outcome {
    cmd::need("prometheus", "--version", "apt-get install prometheus")?;
    let said = cmd::answer(Command::new("prometheus").arg("--version"))?;
    let text = said.stdout + &said.stderr;
    let version = text.split_whitespace().skip_while(|&word| word != "version").nth(1).unwrap_or("?");
    println!("    prometheus {version}");
    // Later ones no longer migrate the log of 2.0 to 2.3; earlier ones were not tried.
    let minor = version
        .strip_prefix("2.")
        .and_then(|rest| rest.split('.').next())
        .and_then(|n| n.parse::<u32>().ok());
    match minor {
        Some(42..=51) => Ok(()),
        _ => Err(format!(
            "prometheus {version} will not do; versions 2.42 to 2.51 read this log (Debian 12 has one)"
        )),
    }
}

impl Prometheus {
    /// Starts over `data`, which holds `wal/`, and waits until it answers.
    pub(crate) fn start(data: &Path, scratch: &Path) -> Result<Prometheus, String> {
        let config = scratch.join("prometheus.yml");
        std::fs::write(&config, "global: {scrape_interval: 1h}\nscrape_configs: []\n")
            .map_err(|e| format!("{}: {e}", config.display()))?;
        let log = scratch.join("prometheus.log");
        let output = File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        let port = free_port()?;
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            // Otherwise the samples, which are old, are soon removed.
            .arg("--storage.tsdb.retention.time=100y")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(scratch)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output)
            .spawn()
            .map_err(|e| format!("prometheus cannot be started: {e}"))?;
        let mut server = Prometheus { child, port, log };
        server.wait_until_ready()?;
        Ok(server)
    }

    fn wait_until_ready(&mut self) -> Outcome {
        let start = Instant::now();
        while start.elapsed() < READY_WITHIN {
            if let Some(status) = self.child.try_wait().map_err(|e| format!("prometheus: {e}"))? {
                return Err(format!("prometheus gave up ({status}); it said:\n{}", self.said()));
            }
            // Not listening yet and "not ready" are the same to us.
            if matches!(http::ask(self.port, "/-/ready", &[]), Ok((200, _))) {
                return Ok(());
            }
            std::thread::sleep(POLL_EVERY);
        }
        Err(format!("prometheus was not ready within {READY_WITHIN:?}; it said:\n{}", self.said()))
    }

    /// Every sample of one metric in the closed span, as bits by time.
    pub(crate) fn samples(
        &self,
        name: &str,
        span_ms: (i64, i64),
    ) -> Result<BTreeMap<LabelSet, BTreeMap<i64, u64>>, String> {
        let range = span_ms.1 - span_ms.0 + 1;
        let query = format!("{{__name__={}}}[{range}ms]", quote(name));
        let data = self.api("/api/v1/query", &[("query", &query), ("time", &timestamp(span_ms.1))])?;
        let mut found = BTreeMap::new();
        for series in data["result"].as_array().ok_or("the query's answer has no result")? {
            let mut values = BTreeMap::new();
            for pair in series["values"].as_array().into_iter().flatten() {
                values.insert(time_ms(&pair[0])?, bits(&pair[1])?);
            }
            found.insert(label_set(&series["metric"]), values);
        }
        Ok(found)
    }

    /// Every label set known in the span.
    pub(crate) fn series(&self, span_ms: (i64, i64)) -> Result<BTreeSet<LabelSet>, String> {
        let (start, end) = (timestamp(span_ms.0), timestamp(span_ms.1));
        let form = [("match[]", "{__name__=~\".+\"}"), ("start", &start), ("end", &end)];
        let data = self.api("/api/v1/series", &form)?;
        Ok(data.as_array().ok_or("the list of series is no list")?.iter().map(label_set).collect())
    }

    fn api(&self, path: &str, form: &[(&str, &str)]) -> Result<Value, String> {
        let (status, body) = http::ask(self.port, path, form)?;
        let mut answer: Value =
            serde_json::from_slice(&body).map_err(|e| format!("{path}: {status}, {e}"))?;
        if answer["status"] != "success" {
            return Err(format!("{path}: {status}, {}", answer["error"]));
        }
        Ok(answer["data"].take())
    }

    /// Asks it to end, as an operator would, and waits for that.
    pub(crate) fn stop(mut self) -> Outcome {
        let id = i32::try_from(self.child.id()).map_err(|_| "a process id beyond i32")?;
        kill(Pid::from_raw(id), Signal::SIGTERM)
            .map_err(|e| format!("prometheus cannot be asked to stop: {e}"))?;
        let start = Instant::now();
        while start.elapsed() < STOPPED_WITHIN {
            match self.child.try_wait().map_err(|e| format!("prometheus: {e}"))? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    return Err(format!("prometheus ended with {status}; it said:\n{}", self.said()));
                }
                None => std::thread::sleep(POLL_EVERY),
            }
        }
        Err(format!("prometheus did not stop within {STOPPED_WITHIN:?}; it said:\n{}", self.said()))
    }

    /// What it complained about since its start.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let loud = |line: &&str| line.contains("level=warn") || line.contains("level=error");
        self.said().lines().filter(loud).map(str::to_owned).collect()
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // After `stop` both fail, which is what we want then; the child was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody holds at this moment.
fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|e| format!("no free port: {e}"))?;
    Ok(listener.local_addr().map_err(|e| format!("no free port: {e}"))?.port())
}

/// PromQL's double-quoted text.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// Milliseconds as the API's seconds, without going through a float.
fn timestamp(ms: i64) -> String {
    format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000))
}

/// The API prints seconds with at most three decimals; a float holds them well enough to round back.
fn time_ms(value: &Value) -> Result<i64, String> {
    let seconds = value.as_f64().ok_or_else(|| format!("{value} is no time"))?;
    format!("{:.0}", seconds * 1000.0).parse().map_err(|_| format!("{value} is no time"))
}

/// Values come as text, in the shortest form that reads back to the same bits. Of a NaN only that it is one.
fn bits(value: &Value) -> Result<u64, String> {
    let text = value.as_str().ok_or_else(|| format!("{value} is no sample value"))?;
    let number: f64 = text.parse().map_err(|_| format!("`{text}` is no sample value"))?;
    Ok(if number.is_nan() { f64::NAN.to_bits() } else { number.to_bits() })
}

fn label_set(metric: &Value) -> LabelSet {
    let pairs = metric.as_object().into_iter().flatten();
    let mut set: LabelSet =
        pairs.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
    set.sort();
    set
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_go_both_ways_without_loss() {
        assert_eq!(timestamp(1_700_000_000_007), "1700000000.007");
        assert_eq!(timestamp(-1), "-1.999");
        assert_eq!(time_ms(&json!(1_795_375_565.229)).unwrap(), 1_795_375_565_229);
        assert_eq!(time_ms(&json!(1_795_375_565)).unwrap(), 1_795_375_565_000);
    }

    #[test]
    fn values_are_compared_by_bits() {
        assert_eq!(bits(&json!("-0")).unwrap(), (-0.0f64).to_bits());
        assert_eq!(bits(&json!("+Inf")).unwrap(), f64::INFINITY.to_bits());
        assert_eq!(bits(&json!("NaN")).unwrap(), f64::NAN.to_bits());
        assert!(bits(&json!("one")).is_err());
    }

    #[test]
    fn text_in_a_query_is_escaped() {
        assert_eq!(quote("a\"b\\c\nd"), r#""a\"b\\c\nd""#);
    }
}
