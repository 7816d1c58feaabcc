//! Accounting: time and CPU of a run, what else kept the box busy, percentiles, and the row.
use std::time::Instant;

fn cpu_total() -> f64 {
    let s = std::fs::read_to_string("/proc/stat").unwrap();
    let f: Vec<f64> = s.lines().next().unwrap().split_whitespace().skip(1).map(|x| x.parse().unwrap()).collect();
    // user nice system (idle iowait) irq softirq steal
    (f[0] + f[1] + f[2] + f[5] + f[6] + f[7]) / 100.0
}
fn cpu_self() -> f64 {
    unsafe {
        let mut r: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut r);
        let t = |v: libc::timeval| v.tv_sec as f64 + v.tv_usec as f64 / 1e6;
        t(r.ru_utime) + t(r.ru_stime)
    }
}
pub(crate) struct Meter {
    pub(crate) t: Instant,
    own: f64,
    all: f64,
}
impl Meter {
    pub(crate) fn new() -> Self {
        Meter { t: Instant::now(), own: cpu_self(), all: cpu_total() }
    }
    /// (wall, own cpu seconds, other cores)
    pub(crate) fn stop(&self) -> (f64, f64, f64) {
        let w = self.t.elapsed().as_secs_f64();
        let own = cpu_self() - self.own;
        let other = ((cpu_total() - self.all - own) / w).max(0.0);
        (w, own, other)
    }
}
pub(crate) fn row(name: &str, unit: &str, vals: &mut [f64], other: f64, extra: &str) {
    vals.sort_by(|a, b| a.partial_cmp(b).unwrap());
    let m = vals[vals.len() / 2];
    let f = |v: f64| if v >= 100.0 { format!("{v:.0}") } else if v >= 10.0 { format!("{v:.1}") } else { format!("{v:.2}") };
    println!("| {name} | {} {unit} | {}..{} | {other:.2} | {extra} |", f(m), f(vals[0]), f(vals[vals.len() - 1]));
}
pub(crate) fn pct(v: &mut [f64], p: f64) -> f64 {
    v.sort_by(|a, b| a.partial_cmp(b).unwrap());
    v[((v.len() - 1) as f64 * p).round() as usize]
}
pub(crate) fn med(mut v: Vec<f64>) -> f64 {
    pct(&mut v, 0.5)
}
