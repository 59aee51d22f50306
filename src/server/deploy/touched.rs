//! Databases whose catalogs somebody changed by other means: what lets a deployment believe the registry of the others.
//!
//! A backend writes a file before it commits such a transaction, and tells the server worker after it. The file is what counts: it is
//! there before the change can be seen, whether or not the server worker runs.

use std::sync::Arc;

use stonescriptdb_protocol::TenantWork;

use super::life::work;
use crate::server::{App, RESTORED, TOUCHED_FOLDER};

/// A file that is being worked off. What is touched meanwhile makes a new one.
const TAKEN: &str = ".taken";

/// Marks the databases that are written down as touched, in the registry.
pub(in crate::server) async fn flush(app: &Arc<App>) {
    // Without anything to do, which is nearly always, nobody waits for another.
    if written_down().is_empty() {
        return;
    }
    let _one_at_a_time = app.follow.flushing.lock().await;
    let (mut oids, mut files) = (Vec::new(), Vec::new());
    for name in written_down() {
        let file = format!("{TOUCHED_FOLDER}/{name}");
        if let Some(oid) = name.strip_suffix(RESTORED) {
            // What is lost of this is found by the next deployment: the database is touched too.
            let _ = std::fs::remove_file(&file);
            if let Some(oid) = oid.parse::<u32>().ok().filter(|oid| app.registry().oids.contains(*oid)) {
                super::living::look(app, oid);
            }
            continue;
        }
        let taken = format!("{}{TAKEN}", file.trim_end_matches(TAKEN));
        if file != taken && std::fs::rename(&file, &taken).is_err() {
            continue;
        }
        if let Ok(oid) = name.trim_end_matches(TAKEN).parse::<u32>() {
            oids.push(oid);
        }
        files.push(taken);
    }
    oids.retain(|oid| app.registry().oids.contains(*oid));
    if !oids.is_empty()
        && let Err(failure) = work::<()>(app, TenantWork::Touched { oids }).await
    {
        // The files stay for the next time.
        return app.main.log(format!("what was changed in databases could not be noted: {}", failure.message));
    }
    for file in files {
        let _ = std::fs::remove_file(file);
    }
}

/// The files' names.
fn written_down() -> Vec<String> {
    let Ok(folder) = std::fs::read_dir(TOUCHED_FOLDER) else { return Vec::new() };
    folder.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
}
