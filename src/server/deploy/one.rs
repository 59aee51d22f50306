//! What a deployment does in one database.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use stonescriptdb_protocol::{
    AdoptRequest, ControlRequest, DeployAnswer, DeployMode, DeployOptions, DeployReport, DeployRequest, ErrorCode,
    ExecutorRequest, Failure, Prepared, PreparedDatabase, Start,
};

use super::control_target;
use super::job::{Job, behind};
use super::template::Bundles;
use crate::server::pool::Target;
use crate::server::{App, broker};

/// A database that was taken over. Unless it is kept it is given back, whatever happens on the way.
pub(super) struct Adopted {
    app: Arc<App>,
    elevated: Arc<Target>,
    /// What gives the objects back.
    statements: Vec<String>,
    /// The owner of the database before; none while it is still its owner.
    owner: Option<String>,
    pub(super) kept: bool,
}

impl Adopted {
    /// Makes a database the platform's: its objects first, which also tells whether it may be taken.
    ///
    /// # Errors
    /// `database_already_exists` for one that is to be a standalone gateway's and is not; PostgreSQL's own.
    pub(super) async fn take(app: &Arc<App>, database: &str, adopt: AdoptRequest) -> Result<Adopted, Failure> {
        let elevated = Arc::new(Target { database: database.into(), role: None, calls: false });
        let owner_role = adopt.owner_role.clone();
        let statements = broker::request(app, &elevated, &ExecutorRequest::Adopt(adopt)).await?;
        let mut adopted = Adopted { app: app.clone(), elevated, statements, owner: None, kept: false };
        let take = ControlRequest::AdoptDatabase { database: database.to_owned(), owner_role };
        let control = control_target(app);
        adopted.owner = Some(broker::request(app, &control, &ExecutorRequest::Control(take)).await?);
        Ok(adopted)
    }

    pub(super) async fn end(mut self) {
        if !std::mem::replace(&mut self.kept, true) {
            self.give_back().await;
        }
    }

    async fn give_back(&self) {
        let objects = ExecutorRequest::GiveBack(self.statements.clone());
        let mut result = broker::request::<()>(&self.app, &self.elevated, &objects).await;
        if let (Some(owner), true) = (&self.owner, result.is_ok()) {
            let database = self.elevated.database.to_string();
            let give = ControlRequest::AdoptDatabase { database, owner_role: owner.clone() };
            let control = control_target(&self.app);
            result = broker::request::<String>(&self.app, &control, &ExecutorRequest::Control(give)).await.map(drop);
        }
        if let Err(failure) = result {
            self.app.main.log(format!(
                "the database \"{}\" could not be given back to its owner: {}",
                self.elevated.database, failure.message
            ));
        }
    }
}

impl Drop for Adopted {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let again = Adopted {
            app: self.app.clone(),
            elevated: self.elevated.clone(),
            statements: std::mem::take(&mut self.statements),
            owner: self.owner.take(),
            kept: false,
        };
        behind(&self.app, again.end());
    }
}

/// Who holds the locks is not asked for more often than this.
const SHORTEST_WATCH: Duration = Duration::from_millis(50);

/// What is done in one database.
pub(super) struct OneDatabase<'a> {
    pub(super) app: &'a Arc<App>,
    pub(super) prepared: &'a Prepared,
    pub(super) bundles: &'a Bundles<'a>,
    pub(super) database: &'a PreparedDatabase,
    pub(super) mode: DeployMode,
    pub(super) options: &'a DeployOptions,
    /// The deployment that it is a part of.
    pub(super) job: &'a Job,
    /// Turns true when an executor begins to change the database: from then on it is that one's word that counts, cancelled or not.
    pub(super) at_work: &'a AtomicBool,
}

impl OneDatabase<'_> {
    pub(super) async fn run(&self) -> Result<DeployReport, Failure> {
        let Some(place) = self.database.bundle else { return Ok(DeployReport::default()) };
        if !self.database.adopted {
            return self.deploy(place).await;
        }
        // Proved before the database is touched.
        self.bundles.proved(place).await?;
        let mut adopted = self.adopt().await?;
        let result = self.deploy(place).await;
        adopted.kept = result.is_ok() && !self.options.dry_run;
        adopted.end().await;
        result
    }

    async fn deploy(&self, place: usize) -> Result<DeployReport, Failure> {
        let start = match self.database.created {
            true => self.bundles.create_database(place, &self.database.name).await?,
            false => Start::Existing,
        };
        let proved = self.bundles.proved(place).await?;
        let mut request = DeployRequest {
            bundle_sha256: self.bundles.key(place).sha256,
            archive: (start == Start::Cloned).then(|| self.bundles.archive(place)),
            proof: None,
            seeds: proved.seeds.clone(),
            bodies: proved.bodies.clone(),
            summary: proved.summary,
            fingerprint: proved.fingerprint.clone(),
            mode: self.mode,
            start,
            call_role: self.prepared.call_role.clone(),
            options: self.options.clone(),
            deployment_id: self.job.id.clone(),
        };
        let owner = self.target(Some(&self.prepared.owner_role));
        // Whether there is anything to do is asked first: the proof is large.
        if !self.options.full_verify && start != Start::Empty {
            let ask = ExecutorRequest::Deploy(request);
            if let DeployAnswer::Done(report) = self.watched(&owner, &ask).await? {
                return Ok(*report);
            }
            let ExecutorRequest::Deploy(asked) = ask else { return Err(Failure::internal("a request has changed")) };
            request = asked;
        }
        request.archive = Some(self.bundles.archive(place));
        request.proof = Some(self.bundles.proof(place).await?);
        let installed = self.install_extensions(place).await?;
        match self.watched(&owner, &ExecutorRequest::Deploy(request)).await {
            Ok(DeployAnswer::Done(mut report)) => {
                report.extensions_installed += u32::try_from(installed.len()).unwrap_or(u32::MAX);
                Ok(*report)
            }
            Ok(DeployAnswer::NeedsProof) => Err(Failure::internal("a proof was sent and is asked for")),
            Err(failure) => {
                self.take_back(installed).await;
                Err(failure)
            }
        }
    }

    /// Sends the request and looks meanwhile who is in its way: when it has failed for a lock, nobody can tell any more.
    async fn watched(&self, owner: &Arc<Target>, request: &ExecutorRequest) -> Result<DeployAnswer, Failure> {
        let interval = (self.app.settings().deploy_lock_timeout / 3).max(SHORTEST_WATCH);
        let mut holders: Option<String> = None;
        self.at_work.store(true, Relaxed);
        let work = broker::request_until::<DeployAnswer>(self.app, owner, request, self.job.cancelled());
        tokio::pin!(work);
        let result = loop {
            tokio::select! {
                result = &mut work => break result,
                () = tokio::time::sleep(interval) => {
                    let look = ControlRequest::Blockers {
                        database: self.database.name.clone(),
                        role: self.prepared.owner_role.clone(),
                    };
                    let (control, look) = (control_target(self.app), ExecutorRequest::Control(look));
                    let found = broker::request::<Option<String>>(self.app, &control, &look);
                    tokio::select! {
                        result = &mut work => break result,
                        found = found => holders = found.ok().flatten().or(holders),
                    }
                }
            }
        };
        result.map_err(|failure| match (&failure.code, holders) {
            (ErrorCode::LockTimeout, Some(holders)) => failure.detail(format!("Held by {holders}.")),
            _ => failure,
        })
    }

    fn target(&self, role: Option<&str>) -> Arc<Target> {
        Arc::new(Target { database: self.database.name.as_str().into(), role: role.map(Into::into), calls: false })
    }

    /// A standalone gateway's database becomes the platform's. If the deployment does not succeed, or was for show, all of it is taken back.
    async fn adopt(&self) -> Result<Adopted, Failure> {
        let adopt = AdoptRequest {
            of_gateway: true,
            by: self.prepared.by.clone(),
            owner_role: self.prepared.owner_role.clone(),
            call_role: self.prepared.call_role.clone(),
        };
        Adopted::take(self.app, &self.database.name, adopt).await
    }

    async fn install_extensions(&self, place: usize) -> Result<Vec<String>, Failure> {
        let wanted = self.bundles.elevated_extensions(place);
        if wanted.is_empty() || self.options.dry_run {
            return Ok(Vec::new());
        }
        broker::request(self.app, &self.target(None), &ExecutorRequest::InstallExtensions(wanted)).await
    }

    async fn take_back(&self, installed: Vec<String>) {
        if installed.is_empty() || self.database.created {
            return;
        }
        let request = ExecutorRequest::DropExtensions(installed);
        if let Err(error) = broker::request::<()>(self.app, &self.target(None), &request).await {
            self.app.main.log(format!(
                "an extension could not be dropped again in \"{}\": {}",
                self.database.name, error.message
            ));
        }
    }
}
