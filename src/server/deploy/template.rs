//! The bundles of a deployment: proved in their templates when something asks, and copied to make new databases.

use std::sync::Arc;

use stonescriptdb_protocol::{
    Archive, ControlRequest, ExecutorRequest, ExtensionSpec, Failure, Prepared, ProveRequest, Proved, Reuse, Start,
    Template, TemplateKey,
};
use tokio::sync::{Mutex, OnceCell};

use super::gate::{Pass, enter};
use super::job::{Behind, behind};
use super::{control_target, owner_of};
use crate::server::pool::Target;
use crate::server::{App, broker};

/// What a deployment deploys.
pub(super) struct Bundles<'p> {
    app: &'p Arc<App>,
    prepared: &'p Prepared,
    /// The request's own bytes.
    sent: Option<Archive>,
    proved: Vec<OnceCell<Proved>>,
    proofs: Vec<OnceCell<String>>,
    /// So that one bundle is proved once.
    proving: Mutex<()>,
}

impl<'p> Bundles<'p> {
    pub(super) fn new(app: &'p Arc<App>, prepared: &'p Prepared, sent: Option<Archive>) -> Bundles<'p> {
        let proved = prepared.bundles.iter().map(|bundle| OnceCell::new_with(bundle.proved.clone())).collect();
        let proofs = prepared.bundles.iter().map(|_| OnceCell::new()).collect();
        Bundles { app, prepared, sent, proved, proofs, proving: Mutex::new(()) }
    }

    pub(super) fn key(&self, place: usize) -> TemplateKey {
        self.prepared.bundles.get(place).map_or_else(
            || TemplateKey { platform: self.prepared.platform.clone(), sha256: String::new() },
            |bundle| bundle.key.clone(),
        )
    }

    /// The bytes of a bundle.
    pub(super) fn archive(&self, place: usize) -> Archive {
        let own = self.prepared.bundles.get(place).and_then(|bundle| bundle.archive.as_ref());
        own.or(self.sent.as_ref()).cloned().unwrap_or_default()
    }

    pub(super) fn elevated_extensions(&self, place: usize) -> Vec<ExtensionSpec> {
        self.prepared.bundles.get(place).map(|bundle| bundle.elevated_extensions.clone()).unwrap_or_default()
    }

    /// What was proved of a bundle; it is proved if it was not yet.
    ///
    /// # Errors
    /// What is wrong with the bundle, with file and line.
    pub(super) async fn proved(&self, place: usize) -> Result<&Proved, Failure> {
        let cell = self.proved.get(place).ok_or_else(|| Failure::internal("a database has no bundle"))?;
        if let Some(proved) = cell.get() {
            return Ok(proved);
        }
        self.ensure_template(place).await.map_err(|failure| self.say_what_is_inherited(place, failure))?;
        cell.get().ok_or_else(|| Failure::internal("a bundle was proved and is not"))
    }

    /// A failing file may not be in the request's archive at all.
    fn say_what_is_inherited(&self, place: usize, failure: Failure) -> Failure {
        let inherited = self.prepared.bundles.get(place).map(|bundle| bundle.inherited.as_slice()).unwrap_or_default();
        let folder = failure.file.as_deref().and_then(|file| file.split('/').next());
        match folder.filter(|folder| inherited.iter().any(|kind| kind == folder)) {
            Some(folder) => {
                let hint = format!(
                    "The file is one of the bundle before: this one has no {folder}/, and so says nothing about them."
                );
                failure.hint(hint)
            }
            None => failure,
        }
    }

    /// The proof itself.
    ///
    /// # Errors
    /// As [`Bundles::proved`].
    pub(super) async fn proof(&self, place: usize) -> Result<String, Failure> {
        self.proved(place).await?;
        let cell = self.proofs.get(place).ok_or_else(|| Failure::internal("a database has no bundle"))?;
        if let Some(proof) = cell.get() {
            return Ok(proof.clone());
        }
        let load = ExecutorRequest::Control(ControlRequest::LoadProof(self.key(place)));
        let proof: Option<String> = broker::request(self.app, &control_target(self.app), &load).await?;
        let proof = proof.ok_or_else(|| Failure::internal("a bundle was proved and its proof is gone"))?;
        Ok(cell.get_or_init(|| async { proof }).await.clone())
    }

    /// Creates a tenant's database: a copy of the template, or an empty one where a copy would not do.
    ///
    /// # Errors
    /// As [`Bundles::proved`], and PostgreSQL's own.
    pub(super) async fn create_database(&self, place: usize, database: &str) -> Result<Start, Failure> {
        let mut template = None;
        let mut _pass = None;
        if self.prepared.bundles.get(place).and_then(|bundle| bundle.proved.as_ref()).is_none_or(|p| p.clonable) {
            let ensured = self.ensure_template(place).await;
            let ready;
            // Nobody may drop it or take it over before it is copied.
            (ready, _pass) = ensured.map_err(|failure| self.say_what_is_inherited(place, failure))?;
            if self.proved(place).await?.clonable {
                template = Some(ready);
            }
        }
        let start = if template.is_some() { Start::Cloned } else { Start::Empty };
        // What proved it may still be attached.
        let _hold = match &template {
            Some(template) => Some(self.app.pool.hold(template).await),
            None => None,
        };
        let create = ControlRequest::CreateDatabase {
            database: database.to_owned(),
            template,
            owner_role: self.prepared.owner_role.clone(),
            call_role: self.prepared.call_role.clone(),
        };
        broker::request::<()>(self.app, &control_target(self.app), &ExecutorRequest::Control(create)).await?;
        Ok(start)
    }

    /// Gives the name of the template, and the pass that keeps others from it; builds it if it is not there.
    async fn ensure_template(&self, place: usize) -> Result<(String, Option<Pass>), Failure> {
        let _one = self.proving.lock().await;
        let key = self.key(place);
        let mut pass = enter(self.app, &format!("template {}", key.sha256), "prove").await?;
        if self.proved.get(place).is_some_and(|cell| !cell.initialized()) {
            match self.reuse(place, pass).await? {
                Reused::Ready(database, pass) => return Ok((database, pass)),
                Reused::Not(own) => pass = own,
            }
        }
        let (template, mut building) = begin(self.app.clone(), key, pass).await?;
        if template.is_ready {
            // Another deployment of the bundle may have proved it meanwhile.
            self.load_proved(place).await?;
            return Ok((template.database, building.take_pass()));
        }
        let result = match self.prove(place, &template.database).await {
            Ok(proved) => self.seal(place, &template.database, proved).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = result {
            // Before the record of the deployment is closed, which may drop the roles.
            building.give_up().await;
            return Err(failure);
        }
        building.open = false;
        Ok((template.database, building.take_pass()))
    }

    async fn load_proved(&self, place: usize) -> Result<(), Failure> {
        let Some(cell) = self.proved.get(place).filter(|cell| !cell.initialized()) else { return Ok(()) };
        let load = ExecutorRequest::Control(ControlRequest::LoadProved(self.key(place)));
        let proved: Option<Proved> = broker::request(self.app, &control_target(self.app), &load).await?;
        let proved = proved.ok_or_else(|| Failure::internal("a template is ready and its bundle is not proved"))?;
        let _ = cell.set(proved);
        Ok(())
    }

    async fn seal(&self, place: usize, database: &str, proved: Proved) -> Result<(), Failure> {
        let seal = ControlRequest::SealTemplate { template: self.key(place), proved: proved.clone() };
        broker::request::<()>(self.app, &control_target(self.app), &ExecutorRequest::Control(seal)).await?;
        // The executor that proved it has to go before it can be copied; nobody waits for that now.
        let (app, database) = (self.app.clone(), database.to_owned());
        tokio::spawn(async move { drop(app.pool.hold(&database).await) });
        if let Some(cell) = self.proofs.get(place) {
            let _ = cell.set(proved.proof.clone());
        }
        if let Some(cell) = self.proved.get(place) {
            let _ = cell.set(Proved { proof: String::new(), ..proved });
        }
        Ok(())
    }

    /// Proves a bundle in the template of one from which it differs in the bodies of functions only, if that can be done.
    async fn reuse(&self, place: usize, own: Pass) -> Result<Reused, Failure> {
        let alike = self.prepared.bundles.get(place).and_then(|bundle| bundle.alike.as_ref());
        let Some((from, changed)) = alike else { return Ok(Reused::Not(own)) };
        let base = enter(self.app, &format!("template {}", from.sha256), "prove").await?;
        let load = ExecutorRequest::Control(ControlRequest::LoadProof(from.clone()));
        let proof: Option<String> = broker::request(self.app, &control_target(self.app), &load).await?;
        let Some(proof) = proof else { return Ok(Reused::Not(own)) };
        let owner_role = self.prepared.owner_role.clone();
        let passes = vec![own, base];
        let mut building =
            match begin_reuse(self.app.clone(), from.clone(), self.key(place), owner_role, passes).await? {
                Ok(building) => building,
                Err(own) => return Ok(Reused::Not(own)),
            };
        let prove = ExecutorRequest::Prove(ProveRequest {
            archive: self.archive(place),
            call_role: self.prepared.call_role.clone(),
            reuse: Some(Reuse { proof, changed: changed.clone() }),
        });
        let owner = owner_of(&building.database, &self.prepared.owner_role);
        let result = match broker::request::<Option<Proved>>(self.app, &owner, &prove).await {
            Ok(Some(proved)) => self.seal(place, &building.database, proved).await.map(|()| true),
            // It has to be built from nothing.
            Ok(None) => Ok(false),
            Err(failure) => Err(failure),
        };
        match result {
            Ok(true) => {
                building.open = false;
                let pass = building.take_pass();
                Ok(Reused::Ready(std::mem::take(&mut building.database), pass))
            }
            Ok(false) => match building.give_up().await {
                Some(own) => Ok(Reused::Not(own)),
                None => Err(Failure::internal("a template was taken over without its pass")),
            },
            Err(failure) => {
                building.give_up().await;
                Err(failure)
            }
        }
    }

    async fn prove(&self, place: usize, database: &str) -> Result<Proved, Failure> {
        let elevated = self.elevated_extensions(place);
        let target = |role: Option<&str>| {
            Arc::new(Target { database: database.into(), role: role.map(Into::into), calls: false })
        };
        if !elevated.is_empty() {
            let install = ExecutorRequest::InstallExtensions(elevated);
            broker::request::<Vec<String>>(self.app, &target(None), &install).await?;
        }
        let prove = ExecutorRequest::Prove(ProveRequest {
            archive: self.archive(place),
            call_role: self.prepared.call_role.clone(),
            reuse: None,
        });
        let proved: Option<Proved> =
            broker::request(self.app, &target(Some(&self.prepared.owner_role)), &prove).await?;
        proved.ok_or_else(|| Failure::internal("a bundle was built and not proved"))
    }
}

/// Creates the template's database if it is not there. In a task of its own: if nobody waits for it any more, it is dropped again.
async fn begin(app: Arc<App>, key: TemplateKey, pass: Pass) -> Result<(Template, Building), Failure> {
    let behind = Behind::of(&app);
    let task = tokio::spawn(async move {
        let ensure = ExecutorRequest::Control(ControlRequest::EnsureTemplate(key.clone()));
        let template: Template = match broker::request(&app, &control_target(&app), &ensure).await {
            Ok(template) => template,
            Err(failure) => {
                // What of it was made is written down.
                let undo = ControlRequest::DropTemplate { key, database: None };
                let _ = broker::request::<()>(&app, &control_target(&app), &ExecutorRequest::Control(undo)).await;
                return Err(failure);
            }
        };
        let open = !template.is_ready;
        let building = Building {
            app,
            key,
            database: template.database.clone(),
            taken_over: None,
            open,
            passes: vec![pass],
            _behind: behind,
        };
        Ok((template, building))
    });
    task.await.map_err(|_| Failure::internal("the creation of a template failed"))?
}

/// Takes a template over, in a task of its own for the same reason. If that cannot be done, gives back the first of the passes.
async fn begin_reuse(
    app: Arc<App>,
    from: TemplateKey,
    to: TemplateKey,
    owner_role: String,
    mut passes: Vec<Pass>,
) -> Result<Result<Building, Pass>, Failure> {
    let behind = Behind::of(&app);
    let task = tokio::spawn(async move {
        let request = ControlRequest::ReuseTemplate { from: from.clone(), to: to.clone() };
        let reuse = ExecutorRequest::Control(request);
        let database: Option<String> = broker::request(&app, &control_target(&app), &reuse).await?;
        match database {
            Some(database) => {
                let taken_over = Some((from, owner_role));
                Ok(Ok(Building { app, key: to, database, taken_over, open: true, passes, _behind: behind }))
            }
            None => Ok(Err(passes.swap_remove(0))),
        }
    });
    task.await.map_err(|_| Failure::internal("the takeover of a template failed"))?
}

/// What came of the template of another bundle.
enum Reused {
    /// The bundle is proved in it.
    Ready(String, Option<Pass>),
    /// The bundle has to be built from nothing.
    Not(Pass),
}

/// A template that is being built. If that comes to no end, it is dropped, or given back to whose it was.
struct Building {
    app: Arc<App>,
    key: TemplateKey,
    database: String,
    /// The bundle whose it was, and the owner role.
    taken_over: Option<(TemplateKey, String)>,
    open: bool,
    /// Kept until it is sealed or gone, its own first: the next deployment of the bundle, or of the one before, must not meet it half gone.
    passes: Vec<Pass>,
    /// Who asked for it may have left.
    _behind: Behind,
}

impl Building {
    /// The pass of the bundle itself; that of the bundle before is over with it.
    fn take_pass(&mut self) -> Option<Pass> {
        self.passes.drain(..).next()
    }

    /// Ends it; gives its own pass.
    async fn give_up(mut self) -> Option<Pass> {
        self.open = false;
        let (database, taken_over) = (std::mem::take(&mut self.database), self.taken_over.take());
        // In a task of its own: who waits for it may leave.
        let (app, key, pass) = (self.app.clone(), self.key.clone(), std::mem::take(&mut self.passes));
        let behind = Behind::of(&app);
        let task = tokio::spawn(async move {
            abandon(&app, key, &database, taken_over).await;
            drop(behind);
            pass
        });
        task.await.ok()?.into_iter().next()
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        let (app, key, database) = (self.app.clone(), self.key.clone(), std::mem::take(&mut self.database));
        let (taken_over, passes) = (self.taken_over.take(), std::mem::take(&mut self.passes));
        behind(&app.clone(), async move {
            abandon(&app, key, &database, taken_over).await;
            drop(passes);
        });
    }
}

/// Ends what came to nothing. A template that was taken over goes back to whose it was if it is as it was.
async fn abandon(app: &Arc<App>, key: TemplateKey, database: &str, taken_over: Option<(TemplateKey, String)>) {
    if let Some((from, owner_role)) = taken_over
        && give_back(app, from, &key, database, &owner_role).await.unwrap_or(false)
    {
        return;
    }
    drop_template(app, key, database).await;
}

async fn give_back(
    app: &Arc<App>,
    from: TemplateKey,
    to: &TemplateKey,
    database: &str,
    owner_role: &str,
) -> Result<bool, Failure> {
    let look = ExecutorRequest::IsAsRecorded { bundle_sha256: from.sha256.clone() };
    if !broker::request::<bool>(app, &owner_of(database, owner_role), &look).await? {
        return Ok(false);
    }
    let back = ControlRequest::ReturnTemplate { from, to: to.clone(), database: database.to_owned() };
    let returned = broker::request(app, &control_target(app), &ExecutorRequest::Control(back)).await?;
    // The executor goes: nobody is to be in a template.
    drop(app.pool.hold(database).await);
    Ok(returned)
}

async fn drop_template(app: &Arc<App>, key: TemplateKey, database: &str) {
    let hold = app.pool.hold(database).await;
    let drop_it = ControlRequest::DropTemplate { key, database: Some(database.to_owned()) };
    let request = ExecutorRequest::Control(drop_it);
    if let Err(failure) = broker::request::<()>(app, &control_target(app), &request).await {
        app.main.log(format!("a template could not be dropped: {}", failure.message));
    }
    drop(hold);
}

/// Drops the templates that a deployment has made superfluous; nobody waits for it.
pub(super) fn sweep(app: &Arc<App>, platform: &str) {
    let (app, platform) = (app.clone(), platform.to_owned());
    behind(&app.clone(), async move {
        let unused = ExecutorRequest::Control(ControlRequest::UnusedTemplates { platform });
        let keys: Vec<TemplateKey> = match broker::request(&app, &control_target(&app), &unused).await {
            Ok(keys) => keys,
            Err(failure) => return app.main.log(format!("unused templates could not be found: {}", failure.message)),
        };
        for key in keys {
            let gate = format!("template {}", key.sha256);
            if let Ok(_pass) = enter(&app, &gate, "sweep").await {
                let request = ExecutorRequest::Control(ControlRequest::DropTemplate { key, database: None });
                if let Err(failure) = broker::request::<()>(&app, &control_target(&app), &request).await {
                    app.main.log(format!("a template could not be dropped: {}", failure.message));
                }
            }
        }
    });
}
