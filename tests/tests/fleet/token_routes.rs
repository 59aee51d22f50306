//! Every kind of route that names a platform, and what it answers with and without the right token.

use acceptance::{Answer, Cluster, Http, Platform, sql, unique};
use serde_json::{Value, json};

use crate::kit::bundle;

/// A route: its name, a request, and the statuses that say that it was let in.
type Route<'a> = (&'static str, Box<dyn Fn(&Http) -> Answer + 'a>, &'static [u16]);

/// A platform with a main database, a stored schema with a database, and a deployment that is over.
struct Guarded<'c> {
    cluster: &'c Cluster,
    platform: Platform<'c>,
    deployment: String,
}

impl<'c> Guarded<'c> {
    /// Made by the administrator, who may everything.
    #[track_caller]
    fn new(cluster: &'c Cluster, prefix: &str) -> Guarded<'c> {
        let platform = Platform::unregistered(cluster, prefix);
        let (http, name) = (cluster.http().admin(), platform.name.as_str());
        http.register(name, None, &bundle(1).tar_gz()).ok();
        let upload = format!("/platform/{name}/schema");
        http.multipart(&upload, &[("schema_name", "web")], Some(("schema", &bundle(1).tar_gz()))).expect(201);
        let body = json!({"platform": name, "schema_name": "web", "database_id": "one"});
        http.post_json("/admin/database/create", &body).expect(201);
        let deployment = http.post_json("/v2/migrate", &json!({"platform": name, "schema_name": "web"})).ok();
        let deployment = deployment.str("deployment_id").to_owned();
        Guarded { cluster, platform, deployment }
    }

    #[track_caller]
    fn token(&self) -> String {
        create_token(self.cluster, &self.platform.name)
    }

    /// Every kind of route. What they do is there already, so that each can be asked again and again.
    fn routes(&self) -> Vec<Route<'_>> {
        let (name, id) = (&self.platform.name, &self.deployment);
        let archive = bundle(1).tar_gz();
        let post = |name: &'static str, path: String, body: Value, ok: &'static [u16]| -> Route<'_> {
            (name, Box::new(move |http: &Http| http.post_json(&path, &body)), ok)
        };
        let get = |name: &'static str, path: String, ok: &'static [u16]| -> Route<'_> {
            (name, Box::new(move |http: &Http| http.get(&path)), ok)
        };
        let form =
            |route: &'static str, path: String, fields: Vec<(&'static str, String)>, ok: &'static [u16]| -> Route<'_> {
                let archive = archive.clone();
                let send = move |http: &Http| {
                    let fields: Vec<(&str, &str)> =
                        fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
                    http.multipart(&path, &fields, Some(("schema", &archive)))
                };
                (route, Box::new(send), ok)
            };
        let web = json!({"platform": name, "schema_name": "web"});
        let one = json!({"platform": name, "schema_name": "web", "database_id": "one"});
        let v1 = json!({"platform": name, "function": "edition", "params": []});
        let v2 = json!({"platform": name, "schema_name": "web", "uuid": "one", "function": "edition", "params": []});
        vec![
            post("call", "/call".into(), v1, &[200]),
            post("call of a stored schema", "/call".into(), v2, &[200]),
            form("register", "/register".into(), vec![("platform", name.clone())], &[200]),
            form("migrate", "/migrate".into(), vec![("platform", name.clone())], &[200]),
            post("platform/register", "/platform/register".into(), json!({"platform": name}), &[409]),
            form("upload", format!("/platform/{name}/schema"), vec![("schema_name", "web".into())], &[201]),
            get("schemas", format!("/platform/{name}/schemas"), &[200]),
            get("databases", format!("/platform/{name}/databases"), &[200]),
            post("database/create", "/database/create".into(), one.clone(), &[409]),
            post("admin/database/create", "/admin/database/create".into(), one.clone(), &[409]),
            post("v2/migrate", "/v2/migrate".into(), one, &[200]),
            post("v2/migrate-all", "/v2/migrate-all".into(), web, &[202, 409]),
            get("v2/migrate-all/id", format!("/v2/migrate-all/{id}"), &[200]),
            get("deployments/id", format!("/deployments/{id}"), &[200]),
            get("deployments/id/events", format!("/deployments/{id}/events"), &[200]),
            post("cancel", format!("/deployments/{id}/cancel"), json!({}), &[200, 409]),
            post("resume", format!("/deployments/{id}/resume"), json!({}), &[200, 409]),
            post("retry", format!("/deployments/{id}/retry"), json!({}), &[200, 409]),
        ]
    }
}

/// `stonescriptdb.create_token`.
#[track_caller]
pub fn create_token(cluster: &Cluster, platform: &str) -> String {
    sql::done(cluster.control().query_one("SELECT stonescriptdb.create_token($1)", &[&platform])).get(0)
}

/// Asserts that every route lets this client in.
#[track_caller]
fn check_open(guarded: &Guarded<'_>, http: &Http, who: &str) {
    for (route, request, ok) in guarded.routes() {
        let answer = request(http);
        assert!(ok.contains(&answer.status), "{route} {who}: one of {ok:?} expected, but: {answer}");
    }
}

/// Asserts that every route refuses this client.
#[track_caller]
fn check_refused(guarded: &Guarded<'_>, http: &Http, who: &str, status: u16, code: &str) {
    for (route, request, _) in guarded.routes() {
        let answer = request(http);
        assert!(
            answer.status == status && answer.code() == code,
            "{route} {who}: {status} {code} expected, but: {answer}"
        );
        if status == 401 {
            assert!(answer.header("www-authenticate").is_some(), "{route} {who}: {answer}");
        }
        answer.shaped();
    }
}

#[test]
fn a_platform_with_a_token_wants_it_on_every_route() {
    let cluster = Cluster::start();
    let (guarded, other) = (Guarded::new(&cluster, "guard"), Guarded::new(&cluster, "guard"));
    let http = cluster.http();
    // Without any token of it, it is open, but for the administrator's route.
    for (route, request, ok) in guarded.routes() {
        let answer = request(&http);
        if route == "admin/database/create" {
            answer.error(401, "unauthorized");
        } else {
            assert!(ok.contains(&answer.status), "{route}: {answer}");
        }
    }
    let token = guarded.token();
    check_refused(&guarded, &http, "without a token", 401, "unauthorized");
    let wrong =
        [format!("{token}x"), token[..token.len() - 1].to_owned(), token.to_uppercase(), "wrong".into(), String::new()];
    for wrong in wrong.iter().filter(|wrong| **wrong != token) {
        check_refused(&guarded, &http.bearer(wrong), "with a wrong token", 401, "unauthorized");
    }
    check_refused(&guarded, &http.header("Authorization", &token), "without Bearer", 401, "unauthorized");
    check_open(&guarded, &http.bearer(&token), "with its token");
    check_open(&guarded, &http.admin(), "with the administrator's");
    // The other platform has none, and stays open.
    http.bearer(&token).call(&other.platform.name, None, "edition", json!([])).ok();
    let others = other.token();
    check_refused(&guarded, &http.bearer(&others), "with another platform's", 403, "platform_isolation_violation");
    check_refused(&other, &http.bearer(&token), "with another platform's", 403, "platform_isolation_violation");
    check_open(&other, &http.bearer(&others), "with its own");

    // Both of two tokens count, and administrators' routes want the administrator's.
    let second = guarded.token();
    check_open(&guarded, &http.bearer(&second), "with its second token");
    check_open(&guarded, &http.bearer(&token), "with its first token still");
    for path in ["/admin/platforms", &format!("/admin/databases?platform={}", guarded.platform.name)] {
        let answer = http.bearer(&token).get(path);
        assert!(answer.status == 401 || answer.status == 403, "{path}: {answer}");
    }
    let body = json!({"platform": guarded.platform.name, "tenant_id": "x"});
    let answer = http.bearer(&token).post_json("/admin/create-tenant", &body);
    assert!(answer.status == 401 || answer.status == 403, "{answer}");

    // SQL callers need none, and open routes stay open.
    let mut control = cluster.control();
    let name = guarded.platform.name.as_str();
    sql::done(sql::call(&mut control, name, None, "edition", &json!([])));
    sql::done(sql::migrate(&mut control, &bundle(1).tar_gz(), Some(name), None));
    http.get("/health").ok();
    http.get("/platforms").ok();
    http.call(&unique("nobody"), None, "edition", json!([])).error(404, "platform_not_found");
    http.bearer(&token).get(&format!("/platform/{}/schemas", unique("nobody"))).client_error();
    http.bearer(&token).get("/deployments/00000000-0000-0000-0000-000000000000").error(404, "deployment_not_found");
}

#[test]
fn with_require_platform_token_every_platform_wants_one() {
    let cluster = Cluster::start();
    let (guarded, bare) = (Guarded::new(&cluster, "req"), Guarded::new(&cluster, "req"));
    let token = guarded.token();
    let http = cluster.http();
    let call = |http: &Http, platform: &str| http.call(platform, None, "edition", json!([]));
    call(&http, &bare.platform.name).ok();
    cluster.configure("stonescriptdb.require_platform_token", "on");
    cluster.reload();
    acceptance::eventually("the new setting", || {
        let answer = call(&http, &bare.platform.name);
        acceptance::wait::check(answer.status == 401, &answer)
    });
    check_refused(&bare, &http, "without a token", 401, "unauthorized");
    check_refused(&bare, &http.bearer("any"), "with a wrong token", 401, "unauthorized");
    for (route, request, _) in bare.routes() {
        let answer = request(&http.bearer(&token));
        let administrators = route == "admin/database/create" && answer.status == 401;
        assert!(administrators || answer.status == 403, "{route} with another platform's: {answer}");
    }
    check_open(&bare, &http.admin(), "with the administrator's");
    check_open(&guarded, &http.bearer(&token), "with its token");
    // A platform that is not there yet: the administrator makes it.
    let name = unique("req");
    http.post_json("/platform/register", &json!({"platform": name})).error(401, "unauthorized");
    let register = |http: &Http| http.register(&name, None, &bundle(1).tar_gz());
    register(&http).error(401, "unauthorized");
    register(&http.bearer(&token)).client_error();
    http.admin().post_json("/platform/register", &json!({"platform": name})).expect(201);
    register(&http.admin()).ok();
    http.get("/platforms").error(401, "unauthorized");
    let answer = http.bearer(&token).get("/platforms");
    assert!(answer.status == 401 || answer.status == 403, "{answer}");
    http.admin().get("/platforms").ok();
    http.get("/health").ok();
    // SQL callers need none.
    sql::done(sql::call(&mut cluster.control(), &bare.platform.name, None, "edition", &json!([])));

    cluster.configure("stonescriptdb.require_platform_token", "off");
    cluster.reload();
    acceptance::eventually("the old setting", || {
        let answer = call(&http, &bare.platform.name);
        acceptance::wait::check(answer.status == 200, &answer)
    });
    call(&http, &guarded.platform.name).error(401, "unauthorized");
    http.get("/platforms").ok();
}
