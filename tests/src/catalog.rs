//! A database's catalog as the extension sees it, read over a connection.

use postgres::{Client, IsolationLevel};
use stonescriptdb_schema::{CATALOG_SETTINGS, Model, STAMP_SQL, catalog_queries};

use crate::sql::done;

/// The model of the database that a client is connected to, read as whoever it is connected as.
#[track_caller]
pub fn read_model(client: &mut Client) -> Model {
    Model::from_catalog(&read_answers(client)).unwrap_or_else(|e| panic!("{e}"))
}

/// The answers that the model is made of.
#[track_caller]
pub fn read_answers(client: &mut Client) -> Vec<String> {
    let mut transaction =
        done(client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start());
    for (name, value) in CATALOG_SETTINGS {
        done(transaction.batch_execute(&format!("SELECT pg_catalog.set_config('{name}', '{value}', true)")));
    }
    let answers =
        catalog_queries().iter().map(|query| done(transaction.query_one(*query, &[])).get::<_, String>(0)).collect();
    done(transaction.commit());
    answers
}

/// The stamp of the database's catalog.
#[track_caller]
pub fn read_stamp(client: &mut Client) -> String {
    done(client.query_one(STAMP_SQL, &[])).get(0)
}
