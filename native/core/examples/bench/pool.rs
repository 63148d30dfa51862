//! What a call of the pool costs: in a row, and after the workers went to sleep.
use crate::{median, seconds, Options};
use std::time::Duration;

pub fn bench(o: &Options) -> String {
    let pool = o.machine.pool();
    let call = || pool.run(4, &|_| {}).expect("a call");
    let busy = median(
        (0..o.rounds * 20)
            .map(|_| seconds(|| (0..100).for_each(|_| call())).wall * 1e4)
            .collect(),
    );
    let asleep = median(
        (0..o.rounds * 20)
            .map(|_| {
                std::thread::sleep(Duration::from_millis(1));
                seconds(call).wall * 1e6
            })
            .collect(),
    );
    format!("\"pool\": {{\"us in a row\": {busy:.2}, \"us from sleep\": {asleep:.2}}}")
}
