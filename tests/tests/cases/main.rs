//! The cases of `tests/cases`, each one deployment over another one. The README there says how a case is written.
//!
//! `SSDB_CASE=columns/` runs only those whose name contains that.

mod case;
mod deployed;
mod plain;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use case::Case;

/// How many cases run at a time.
const THREADS: usize = 3;

/// Runs all cases and panics with everything that failed, so that one failing case does not hide the others.
fn run_all(what: &str, run: impl Fn(&Case) -> Result<(), String> + Sync) {
    let cases = case::all();
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(case)));
                    let outcome = outcome.unwrap_or_else(|panic| {
                        let text = panic.downcast_ref::<String>().cloned();
                        Err(text.unwrap_or_else(|| "a panic".to_owned()))
                    });
                    if let Err(why) = outcome {
                        failures.lock().unwrap().push((case.name.clone(), format!("{}\n{why}", case.title)));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    let texts: String = failures.iter().map(|(name, why)| format!("\n=== {name}: {why}\n")).collect();
    let names: String = failures.iter().map(|(name, _)| format!("{name} ")).collect();
    assert!(failures.is_empty(), "{texts}\n{what}: {} of {} cases failed: {names}", failures.len(), cases.len());
}
