#[pgrx::pg_schema]
mod stonescriptdb_test {
    use std::sync::mpsc;
    use std::time::Duration;

    use pgrx::prelude::*;
    use tokio::sync::oneshot;

    use crate::postgres::worker::with_signals_blocked;
    use crate::server::apart::apart;

    /// With one thread for all connections, work that waits for what another connection does comes to no end in that thread.
    #[pg_extern]
    fn others_go_on_beside_work_on_large_bodies() {
        with_signals_blocked(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (tell_begun, begun) = oneshot::channel();
            let (let_end, may_end) = mpsc::channel();
            let heavy = apart(1 << 20, move || {
                tell_begun.send(()).unwrap();
                may_end.recv_timeout(Duration::from_secs(60)).is_ok()
            });
            let other = async {
                begun.await.unwrap();
                let_end.send(()).unwrap();
            };
            let (was_let, ()) = runtime.block_on(async { tokio::join!(heavy, other) });
            assert!(was_let.unwrap(), "nobody else had a turn while it worked");
        });
    }

    #[pg_extern]
    fn work_that_panics_is_an_error() {
        with_signals_blocked(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            assert!(runtime.block_on(apart(1 << 20, || panic!("a bug"))).is_err());
        });
    }
}
