//! Accounting: CPU and memory of client and broker, latency percentiles, and the row.
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

fn self_cpu() -> f64 {
    unsafe {
        let mut r: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut r);
        (r.ru_utime.tv_sec + r.ru_stime.tv_sec) as f64 + (r.ru_utime.tv_usec + r.ru_stime.tv_usec) as f64 / 1e6
    }
}
fn pid_cpu(pid: &str) -> f64 {
    let Ok(s) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return 0.0 };
    let f: Vec<&str> = s[s.rfind(')').unwrap() + 2..].split(' ').collect();
    (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0
}
fn pid_rss(pid: &str) -> (f64, f64) {
    let s = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let g = |k: &str| s.lines().find(|l| l.starts_with(k)).and_then(|l| l.split_whitespace().nth(1)).and_then(|v| v.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0;
    (g("VmRSS"), g("RssAnon"))
}
fn total_cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/stat").unwrap();
    let f: Vec<f64> = s.lines().next().unwrap().split_whitespace().skip(1).map(|x| x.parse().unwrap()).collect();
    (f[0] + f[1] + f[2] + f[5] + f[6] + f[7]) / 100.0
}
pub(crate) struct Meter {
    pid: String,
    t: Instant,
    own: f64,
    srv: f64,
    all: f64,
}
impl Meter {
    pub(crate) fn new(pid: &str) -> Self {
        Meter { pid: pid.into(), t: Instant::now(), own: self_cpu(), srv: pid_cpu(pid), all: total_cpu() }
    }
    pub(crate) fn row(&self, label: &str, msgs: u64, bytes: u64, more: &str) {
        let w = self.t.elapsed().as_secs_f64();
        let own = self_cpu() - self.own;
        let srv = pid_cpu(&self.pid) - self.srv;
        let other = ((total_cpu() - self.all - own - srv) / w).max(0.0);
        let gib = bytes as f64 / (1u64 << 30) as f64;
        let (rss, anon) = pid_rss(&self.pid);
        println!(
            "| {label} | {:.0} | {:.1} | {:.2} | {:.2} | {:.0} ({:.0} anon) | {more}; {w:.1} s; other cores busy {other:.2} |",
            msgs as f64 / w,
            bytes as f64 / 1048576.0 / w,
            if gib > 0.0 { srv / gib } else { 0.0 },
            if gib > 0.0 { own / gib } else { 0.0 },
            rss,
            anon
        );
    }
}
fn pct(v: &mut [u64], p: f64) -> f64 {
    if v.is_empty() {
        return f64::NAN;
    }
    v.sort_unstable();
    v[((v.len() - 1) as f64 * p).round() as usize] as f64 / 1e6
}
pub(crate) fn lat(v: &mut [u64]) -> String {
    format!("p50 {:.2} p99 {:.2} p99.9 {:.2} max {:.1} ms", pct(v, 0.5), pct(v, 0.99), pct(v, 0.999), pct(v, 1.0))
}

/// What producing threads counted, together: acknowledged, errors, latencies.
pub(crate) fn sum(hs: Vec<JoinHandle<(u64, u64, Vec<u64>)>>) -> (u64, u64, Vec<u64>) {
    let (mut ok, mut err, mut l) = (0, 0, vec![]);
    for h in hs {
        let (o, e, v) = h.join().unwrap();
        ok += o;
        err += e;
        l.extend(v);
    }
    (ok, err, l)
}

/// Sleeps until `due` nanoseconds after `t0`.
pub(crate) fn wait_until(t0: Instant, due: u64) {
    loop {
        let now = t0.elapsed().as_nanos() as u64;
        if now >= due {
            return;
        }
        thread::sleep(Duration::from_nanos((due - now).clamp(20_000, 500_000)));
    }
}
