//! How databases of stored schemas differ from their bundles is found as it is for those of the platform's own schema.

use acceptance::{refused, shared, sql};
use serde_json::Value;

use crate::kit::{bundle, by_hand};
use crate::stored::Stored;

#[test]
fn a_database_of_a_stored_schema_is_looked_into_by_its_schema() {
    let cluster = shared();
    let stored = Stored::new(&cluster, "look");
    for schema in ["web", "jobs"] {
        stored.upload(schema, &bundle(1)).expect(201);
        stored.create(schema, "a").expect(201);
    }
    let database = format!("{}_web_a", stored.name);
    by_hand(&cluster, &database, "DROP FUNCTION edition()");
    let platform = stored.name.as_str();
    let told = |answer: &acceptance::Answer| -> Vec<String> {
        let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let row =
            |row: &Value| format!("{} {} {}", text(row, "schema_name"), text(row, "database"), text(row, "object"));
        answer.array("drift").iter().map(row).collect()
    };
    let there = format!("web {database} edition()");
    let http = cluster.http().admin();
    for (query, rows) in [
        (format!("platform={platform}&schema_name=web&tenant_id=a"), vec![there.clone()]),
        (format!("platform={platform}&schema_name=web"), vec![there.clone()]),
        (format!("platform={platform}"), vec![there.clone()]),
        (format!("platform={platform}&schema_name=jobs&tenant_id=a"), vec![]),
        (format!("platform={platform}&schema_name=jobs"), vec![]),
    ] {
        assert_eq!(told(&http.get(&format!("/admin/drift?{query}")).ok()), rows, "{query}");
    }
    http.get(&format!("/admin/drift?platform={platform}&tenant_id=a")).error(404, "database_not_found");
    http.get(&format!("/admin/drift?platform={platform}&schema_name=none")).error(404, "schema_not_found");
    http.get("/admin/drift?schema_name=web").error(400, "invalid_request");

    let mut control = cluster.control();
    let check =
        |arguments: &str| format!("SELECT concat_ws(' ', object, deviation) FROM stonescriptdb.check({arguments})");
    assert_eq!(sql::texts(&mut control, &check(&format!("'{platform}', 'a', 'web'"))), ["edition() missing"]);
    assert_eq!(sql::texts(&mut control, &check(&format!("'{platform}', 'a', schema_name => 'jobs'"))), [""; 0]);
    let refusal = refused(control.query(&check(&format!("'{platform}', 'a'")), &[]));
    refusal.says("no database");
    let view = format!(
        "SELECT concat_ws(' ', schema_name, database, object) FROM stonescriptdb.drift WHERE platform = '{platform}'"
    );
    assert_eq!(sql::texts(&mut control, &view), [there]);
}
