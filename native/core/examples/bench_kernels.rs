//! Kernel speeds as JSON. Each ratio is against the bound measured in the same round; medians over the rounds.
//! `bench_kernels [linear|gemm|attention|pool] [--isa NAME] [--threads N] [--rounds N] [--megabytes N] [--inputs N] [--only ENCODING]`
use masset_core::kernels::*;
use std::hint::black_box;
use std::time::Instant;

mod bench {
    pub mod attention;
    pub mod bounds;
    pub mod gemm;
    pub mod linear;
    pub mod pool;
}

/// What the command line asks for.
pub struct Options {
    pub what: Vec<String>,
    pub machine: Machine,
    pub rounds: usize,
    pub megabytes: usize,
    pub only: String,
    pub inputs: usize,
}

fn options() -> Options {
    let (mut what, mut isa, mut threads, mut rounds, mut megabytes) = (Vec::new(), Isa::detect(), 2, 5, 1024);
    let (mut only, mut inputs) = (String::new(), 2048);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().unwrap_or_default();
        match arg.as_str() {
            "--isa" => {
                let name = value();
                isa = Isa::ALL.into_iter().find(|isa| isa.as_str() == name).expect("an instruction set");
            }
            "--threads" => threads = value().parse().expect("threads"),
            "--rounds" => rounds = value().parse().expect("rounds"),
            "--megabytes" => megabytes = value().parse().expect("megabytes"),
            "--only" => only = value(),
            "--inputs" => inputs = value().parse().expect("inputs"),
            _ => what.push(arg),
        }
    }
    Options {
        what,
        machine: Machine::new(isa, threads).expect("a machine"),
        rounds,
        megabytes,
        only,
        inputs,
    }
}

fn main() {
    let o = options();
    let wanted = |name: &str| o.what.is_empty() || o.what.iter().any(|w| w == name);
    let mut parts = vec![format!(
        "\"isa\": \"{}\", \"threads\": {}, \"rounds\": {}",
        o.machine.isa().as_str(),
        o.machine.pool().threads(),
        o.rounds
    )];
    if wanted("linear") {
        parts.push(bench::linear::bench(&o));
    }
    if wanted("gemm") {
        parts.push(bench::gemm::bench(&o));
    }
    if wanted("attention") {
        parts.push(bench::attention::bench(&o));
    }
    if wanted("pool") {
        parts.push(bench::pool::bench(&o));
    }
    println!("{{\n  {}\n}}", parts.join(",\n  "));
}

/// Seconds of one call: of the clock, and of processor time (all threads), which other processes on the machine disturb less.
#[derive(Clone, Copy)]
pub struct Seconds {
    pub wall: f64,
    pub cpu: f64,
}

/// How long one call takes.
pub fn seconds(f: impl FnOnce()) -> Seconds {
    let (start, cpu) = (Instant::now(), cpu_seconds());
    f();
    Seconds {
        wall: start.elapsed().as_secs_f64(),
        cpu: cpu_seconds() - cpu,
    }
}

/// Processor time of this process; 0 where there is no simple way to know.
fn cpu_seconds() -> f64 {
    #[cfg(target_os = "linux")]
    {
        unsafe extern "C" {
            fn clock_gettime(clock: i32, time: *mut [i64; 2]) -> i32;
        }
        let mut time = [0i64; 2];
        // SAFETY: a timespec is two 64-bit numbers on 64-bit Linux; clock 2 is this process's processor time.
        unsafe { clock_gettime(2, &mut time) };
        return time[0] as f64 + time[1] as f64 * 1e-9;
    }
    #[allow(unreachable_code)]
    0.0
}

/// Work per second against what is possible, round by round.
#[derive(Default)]
pub struct Rates {
    wall: Vec<f64>,
    ratio: Vec<f64>,
    cpu_ratio: Vec<f64>,
    bound: Vec<f64>,
}

impl Rates {
    /// One round: the same unit of work, in the kernel and in what bounds it before and after.
    pub fn add(&mut self, work: f64, time: Seconds, bound_work: f64, bounds: [Seconds; 2]) {
        let wall = bounds.iter().map(|b| bound_work / b.wall).fold(0.0, f64::max);
        let cpu = bounds.iter().map(|b| bound_work / b.cpu).fold(0.0, f64::max);
        self.wall.push(work / time.wall / 1e9);
        self.bound.push(wall / 1e9);
        self.ratio.push(work / time.wall / wall);
        self.cpu_ratio.push(work / time.cpu / cpu);
    }

    /// As members of a JSON object.
    pub fn json(&self, unit: &str) -> String {
        let best = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
        format!(
            "\"{unit}\": {:.1}, \"bound\": {:.1}, \"ratio\": {:.3}, \"best {unit}\": {:.1}, \"best bound\": {:.1}, \"ratio by processor time\": {:.3}",
            median(self.wall.clone()),
            median(self.bound.clone()),
            median(self.ratio.clone()),
            best(&self.wall),
            best(&self.bound),
            median(self.cpu_ratio.clone()),
        )
    }
}

/// The middle value.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Random bytes, the same every time; of each two the upper one such that they make sensible numbers in every float encoding.
pub fn random(bytes: &mut [u8], mut seed: u64) {
    for chunk in bytes.chunks_mut(8) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let sensible = black_box(seed) & 0x83ff_83ff_83ff_83ff | 0x3800_3800_3800_3800;
        chunk.copy_from_slice(&sensible.to_le_bytes()[..chunk.len()]);
    }
}
