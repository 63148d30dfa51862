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

/// Seconds of one call.
pub fn seconds(f: impl FnOnce()) -> f64 {
    let start = Instant::now();
    f();
    start.elapsed().as_secs_f64()
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
