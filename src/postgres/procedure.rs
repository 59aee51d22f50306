//! Procedures called as a client's own CALL would call them, so that they may end transactions and begin new ones.
//!
//! That takes a portal (pquery.c): it outlives the transactions, holds what the call needs in a memory of its own, and brings back a
//! snapshot when SQL runs after a COMMIT. SPI alone would refuse the first statement after it for want of one.

use pgrx::pg_sys;

use super::error::{PgError, catch};
use super::json_out::{JsonReceiver, Rows};
use super::plan::{Plan, Value};
use super::{nodes, version};

/// A CALL that is about to run. If it does not come to that, the end of the transaction takes it away.
pub(crate) struct TopLevelCall(pg_sys::Portal);

impl TopLevelCall {
    /// # Errors
    /// PostgreSQL's own.
    pub(crate) fn prepare() -> Result<TopLevelCall, PgError> {
        // SAFETY: inside a transaction, which owns the portal until `run` has dropped it.
        catch(|| unsafe { TopLevelCall(pg_sys::CreateNewPortal()) })
    }

    /// Makes the arguments, which outlive the transaction.
    pub(crate) fn arguments<T>(&self, make: impl FnOnce() -> T) -> T {
        // SAFETY: the portal's memory is alive; no transaction ends in `make`.
        unsafe {
            let before = pg_sys::MemoryContextSwitchTo((*self.0).portalContext);
            let made = make();
            pg_sys::MemoryContextSwitchTo(before);
            made
        }
    }

    /// Runs it in the present transaction, whose active snapshot it takes off. Afterwards there is a transaction, this one or another,
    /// without an active snapshot. Rows as of [`Plan::run`]; `values` must come from [`TopLevelCall::arguments`].
    ///
    /// # Errors
    /// As [`Plan::run`]. What the procedure has committed stays.
    pub(crate) fn run(
        self,
        plan: &Plan,
        values: &[Value],
        out: Vec<u8>,
        wanted: Rows,
    ) -> Result<(Vec<u8>, u64), PgError> {
        let mut receiver = JsonReceiver::new(out, wanted);
        // SAFETY: the steps of exec_bind_message and exec_execute_message (postgres.c). The portal lets go of the plan when it is dropped,
        // by an abort too. The receiver outlives it.
        catch(|| unsafe {
            let portal = self.0;
            let Some(source) = plan.source() else { pgrx::error!("the call has no plan") };
            pg_sys::MemoryContextSwitchTo((*portal).portalContext);
            let parameters = plan.parameters(values);
            let cached = pg_sys::GetCachedPlan(source, parameters, std::ptr::null_mut(), std::ptr::null_mut());
            pg_sys::PortalDefineQuery(
                portal,
                std::ptr::null(),
                (*source).query_string,
                (*source).commandTag,
                (*cached).stmt_list,
                cached,
            );
            // A COMMIT takes off the snapshots of portals, and minds any other one.
            pg_sys::PopActiveSnapshot();
            pg_sys::PortalStart(portal, parameters, 0, std::ptr::null_mut());
            version::portal_run(portal, receiver.as_dest());
            // The memory of the transaction in which it began may be gone.
            pg_sys::MemoryContextSwitchTo(pg_sys::TopTransactionContext);
            pg_sys::PortalDrop(portal, false);
        })?;
        Ok(receiver.finish())
    }
}

impl Plan {
    /// PostgreSQL's cache entry of its one statement.
    unsafe fn source(&self) -> Option<*mut pg_sys::CachedPlanSource> {
        // SAFETY: a kept plan has a list of them.
        unsafe { nodes::pointers(pg_sys::SPI_plan_get_plan_sources(self.kept())).first().copied() }
    }
}
