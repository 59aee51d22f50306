//! The cluster that the tests of one process share: most tests only need a server with the extension, and a platform of their own on it.

use std::ops::Deref;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Cluster;

/// A test's hold on the shared cluster. If the test panics, the end of the server's log is printed, as with a cluster of one's own.
pub struct Shared(&'static Cluster);

/// The cluster with the default settings that all tests of this process share; started at the first call.
///
/// # Panics
/// When it does not start: the first test says why in full, the others say that.
pub fn shared() -> Shared {
    static CLUSTER: LazyLock<Result<Cluster, String>> = LazyLock::new(|| Cluster::builder().try_start());
    match &*CLUSTER {
        Ok(cluster) => Shared(cluster),
        Err(why) => panic!("the cluster that these tests share did not start: {why}"),
    }
}

impl Deref for Shared {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.print_log_tail();
        }
    }
}

/// A name that no other test of this process uses: `prefix` and a number, a valid identifier if `prefix` is.
pub fn unique(prefix: &str) -> String {
    static LAST: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}{}", LAST.fetch_add(1, Ordering::Relaxed) + 1)
}
