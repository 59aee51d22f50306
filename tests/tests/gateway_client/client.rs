//! The two clients: every request as they send it, in their order, and every decision as they take it.

use std::io;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use acceptance::http::{multipart_body, multipart_type};
use acceptance::{ADMIN_TOKEN, Answer, Cluster, Files, Http};
use serde_json::{Value, json};

/// Where the command line presents its platform token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Presents {
    /// With everything that names the platform, once it has one.
    Everywhere,
    /// As released: with database/create, v2/migrate, v2/migrate-all and its polling only.
    WhereReleased,
}

/// The command line: `php stone gateway:…`, with its environment.
pub struct CommandLine {
    http: Http,
    pub platform: String,
    /// `DB_GATEWAY_PLATFORM_TOKEN`.
    pub platform_token: Option<String>,
    presents: Presents,
    /// Told the status when a request to begin a job is answered.
    pub initiated: Option<Sender<u16>>,
}

/// What a command ended with: its exit code is 1, and this is what it wrote.
#[derive(Debug)]
pub struct Exit(pub String);

/// What migrate-all ended with.
#[derive(Debug)]
pub struct Summary {
    pub jobs: Vec<String>,
    pub job: Value,
}

impl CommandLine {
    /// With the admin token in its environment, and no platform token yet.
    pub fn new(cluster: &Cluster, platform: &str, presents: Presents) -> CommandLine {
        let http = cluster.http().timeout(Duration::from_secs(300));
        CommandLine { http, platform: platform.into(), platform_token: None, presents, initiated: None }
    }

    fn with_token(&self) -> Http {
        self.platform_token.as_deref().map_or_else(|| self.http.clone(), |token| self.http.bearer(token))
    }

    /// For requests with which the released command line sends no token.
    fn mostly(&self) -> Http {
        if self.presents == Presents::Everywhere { self.with_token() } else { self.http.clone() }
    }

    fn post(http: &Http, path: &str, body: &Value) -> io::Result<Answer> {
        http.try_request("POST", path, &[("Content-Type", "application/json")], body.to_string().as_bytes())
    }

    fn wanted(what: &str, answer: io::Result<Answer>, codes: &[u16]) -> Result<Answer, Exit> {
        match answer {
            Ok(answer) if codes.contains(&answer.status) => Ok(answer),
            Ok(answer) => Err(Exit(format!("{what}: {answer}"))),
            Err(e) => Err(Exit(format!("{what}: not reachable: {e}"))),
        }
    }

    fn register_platform(&self) -> Result<(), Exit> {
        let body = json!({"platform": self.platform});
        Self::wanted("platform/register", Self::post(&self.mostly(), "/platform/register", &body), &[200, 201, 409])
            .map(drop)
    }

    fn upload(&self, schema: &str, files: &Files) -> Result<(), Exit> {
        let body = multipart_body(&[("schema_name", schema)], Some(("schema", &files.tar_gz())));
        let path = format!("/platform/{}/schema", self.platform);
        let answer = self.mostly().try_request("POST", &path, &[("Content-Type", &multipart_type())], &body);
        let answer = Self::wanted("upload", answer, &[200, 201])?;
        for field in ["has_tables", "has_functions", "has_migrations"] {
            assert!(answer.json[field].is_boolean(), "it prints {field}: {answer}");
        }
        Ok(())
    }

    /// The platform token: what it has, or a new one by the admin token.
    fn resolve_token(&mut self) -> Result<(), Exit> {
        if self.platform_token.is_some() { Ok(()) } else { self.provision_token() }
    }

    /// gateway:provision-token.
    pub fn provision_token(&mut self) -> Result<(), Exit> {
        let body = json!({"platform": self.platform});
        let answer = Self::post(&self.http.bearer(ADMIN_TOKEN), "/admin/platform-token", &body);
        let answer = Self::wanted("platform-token", answer, &[200, 201])?;
        let token = answer.json["token"].as_str().filter(|token| !token.is_empty());
        self.platform_token = Some(token.ok_or_else(|| Exit(format!("no token: {answer}")))?.to_owned());
        Ok(())
    }

    /// Creates a database; without a UUID the main one. What is there already is as good.
    pub fn create_database(&mut self, schema: &str, uuid: Option<&str>) -> Result<(), Exit> {
        self.resolve_token()?;
        let mut body = json!({"platform": self.platform, "schema_name": schema});
        if let Some(uuid) = uuid {
            body["uuid"] = uuid.into();
        }
        let answer = Self::post(&self.with_token(), "/admin/database/create", &body);
        Self::wanted("database/create", answer, &[200, 201, 409]).map(drop)
    }

    /// gateway:register-main: platform, schema, main database.
    pub fn register_main(&mut self, schema: &str, files: &Files) -> Result<(), Exit> {
        self.register_platform()?;
        self.upload(schema, files)?;
        self.create_database(schema, None)
    }

    /// gateway:register-tenant: platform and schema; databases come on demand.
    pub fn register_tenant(&self, schema: &str, files: &Files) -> Result<(), Exit> {
        self.register_platform()?;
        self.upload(schema, files)
    }

    fn migrate_body(&self, schema: &str, allow: &[&str]) -> Value {
        json!({"platform": self.platform, "schema_name": schema, "force": false, "allow": allow, "skip_verification": false})
    }

    fn migrate(&mut self, schema: &str, uuid: Option<&str>, allow: &[&str]) -> Result<Answer, Exit> {
        self.resolve_token()?;
        let mut body = self.migrate_body(schema, allow);
        if let Some(uuid) = uuid {
            body["uuid"] = uuid.into();
        }
        let answer = Self::post(&self.with_token(), "/v2/migrate", &body);
        let answer = Self::wanted("v2/migrate", answer, &[200, 201])?;
        // What it prints of it.
        answer.str("status");
        answer.array("databases_updated");
        for field in ["migrations_applied", "functions_updated", "execution_time_ms"] {
            answer.number(field);
        }
        Ok(answer)
    }

    /// gateway:migrate-main: schema, then the database without a UUID.
    pub fn migrate_main(&mut self, schema: &str, files: &Files, allow: &[&str]) -> Result<Answer, Exit> {
        self.upload(schema, files)?;
        self.migrate(schema, None, allow)
    }

    /// gateway:migrate-tenant: schema, then one database. It takes identifiers with underscores only.
    pub fn migrate_tenant(&mut self, schema: &str, files: &Files, uuid: &str) -> Result<Answer, Exit> {
        assert!(!uuid.contains('-') && uuid != "main", "the command line refuses {uuid} itself");
        self.upload(schema, files)?;
        self.migrate(schema, Some(uuid), &[])
    }

    /// gateway:migrate-all-tenants: schema, then a job that is polled. `None` when there are no tenants.
    pub fn migrate_all_tenants(&mut self, schema: &str, files: &Files) -> Result<Option<Summary>, Exit> {
        self.upload(schema, files)?;
        self.resolve_token()?;
        let body = self.migrate_body(schema, &[]);
        let answer = self.initiate(&body)?;
        if let Some(initiated) = &self.initiated {
            let _ = initiated.send(answer.status);
        }
        match answer.status {
            200 | 201 => Ok(Some(Self::summary(answer.json, Vec::new())?)),
            204 => Ok(None),
            202 | 409 => {
                let job =
                    answer.json["job_id"].as_str().ok_or_else(|| Exit(format!("no job_id: {answer}")))?.to_owned();
                if answer.status == 202 {
                    assert!(
                        answer.json["status"].is_string() && answer.json["total_databases"].is_u64(),
                        "it prints them: {answer}"
                    );
                }
                self.poll(job, &body).map(Some)
            }
            _ => Err(Exit(format!("v2/migrate-all: {answer}"))),
        }
    }

    /// Connection errors and 5xx are tried again, as often as it does.
    fn initiate(&self, body: &Value) -> Result<Answer, Exit> {
        let mut last = String::new();
        for _ in 0..3 {
            match Self::post(&self.with_token(), "/v2/migrate-all", body) {
                Ok(answer) if answer.status < 500 => return Ok(answer),
                Ok(answer) => last = answer.to_string(),
                Err(e) => last = e.to_string(),
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        Err(Exit(format!("v2/migrate-all: {last}")))
    }

    fn poll(&self, job: String, body: &Value) -> Result<Summary, Exit> {
        let (mut jobs, start, mut interrupted) = (vec![job], Instant::now(), false);
        loop {
            // Three seconds and more in the command line; it does not mind who answers sooner.
            std::thread::sleep(Duration::from_millis(50));
            if start.elapsed() > Duration::from_secs(300) {
                return Err(Exit(format!("the wait limit is exceeded: {jobs:?}")));
            }
            let path = format!("/v2/migrate-all/{}", jobs.last().map(String::as_str).unwrap_or_default());
            let answer = match self.with_token().try_request("GET", &path, &[], b"") {
                // The job goes on without its client.
                Err(_) => continue,
                Ok(answer) if answer.status >= 500 => continue,
                Ok(answer) => answer,
            };
            if answer.status != 200 {
                return Err(Exit(format!("polling: {answer}")));
            }
            match answer.str("status") {
                "completed" | "failed" | "partial" => return Self::summary(answer.json, jobs),
                "interrupted" if interrupted => return Err(Exit(format!("interrupted twice: {answer}"))),
                "interrupted" => {
                    interrupted = true;
                    let again = self.initiate(body)?;
                    let job = again.json["job_id"].as_str().filter(|_| again.status == 202);
                    jobs.push(job.ok_or_else(|| Exit(format!("begun again: {again}")))?.to_owned());
                }
                "queued" | "running" => {
                    answer.number("succeeded");
                    answer.number("total_databases");
                }
                other => panic!("a status that it does not know, so it would poll for ever: {other}"),
            }
        }
    }

    /// What it makes of a job that is over: every result that is not `completed` is a database that failed.
    fn summary(job: Value, jobs: Vec<String>) -> Result<Summary, Exit> {
        let number = |name: &str| job[name].as_i64().unwrap_or_else(|| panic!("it prints {name}: {job:#}"));
        assert_eq!(number("succeeded") + number("failed"), number("total_databases"), "as it prints them: {job:#}");
        let results = job["results"].as_array().unwrap_or_else(|| panic!("it reads results: {job:#}"));
        assert!(number("execution_time_ms") >= 0, "{job:#}");
        let failed = results.iter().filter(|result| result["status"] != "completed").map(|result| {
            let error = &result["error"];
            assert!(error.is_null() || error.is_string(), "it pastes error into a line: {result:#}");
            let (database, error) = (result["database"].as_str(), error.as_str());
            format!("{}: {}", database.unwrap_or("unknown"), error.unwrap_or("no error detail"))
        });
        let failed: Vec<String> = failed.collect();
        if job["status"] == "completed" {
            assert!(failed.is_empty(), "it prints these as failed though the job is completed: {failed:?}");
            return Ok(Summary { jobs, job });
        }
        Err(Exit(format!("finished with status {}: {} {}", job["status"], job["error"], failed.join("\n"))))
    }

    /// gateway:list-schemas: the names.
    pub fn list_schemas(&self) -> Result<Vec<String>, Exit> {
        let answer = self.mostly().try_request("GET", &format!("/platform/{}/schemas", self.platform), &[], b"");
        let answer = Self::wanted("schemas", answer, &[200])?;
        for row in answer.array("schemas") {
            for field in ["has_tables", "has_functions", "has_migrations", "has_seeders"] {
                assert!(row[field].is_boolean(), "it prints {field}: {answer}");
            }
        }
        Ok(Self::column(&answer, "schemas", "name"))
    }

    /// gateway:list-databases: their names.
    pub fn list_databases(&self, schema: Option<&str>) -> Result<Vec<String>, Exit> {
        let filter = schema.map(|schema| format!("?schema={schema}")).unwrap_or_default();
        let path = format!("/platform/{}/databases{filter}", self.platform);
        let answer = Self::wanted("databases", self.mostly().try_request("GET", &path, &[], b""), &[200])?;
        for row in answer.array("databases") {
            for field in ["id", "schema_name", "created_at"] {
                assert!(row[field].is_string(), "it prints {field}: {answer}");
            }
        }
        Ok(Self::column(&answer, "databases", "database_name"))
    }

    fn column(answer: &Answer, rows: &str, name: &str) -> Vec<String> {
        let mut values: Vec<String> =
            answer.array(rows).iter().filter_map(|row| row[name].as_str().map(str::to_owned)).collect();
        values.sort();
        values
    }

    /// What a container calls with.
    pub fn runtime(&self, main_schema: &str, tenant_schema: &str) -> Runtime {
        Runtime {
            http: self.mostly(),
            platform: self.platform.clone(),
            main_schema: main_schema.into(),
            tenant_schema: tenant_schema.into(),
        }
    }
}

/// The runtime client: routes by schema and UUID, takes only 200, and needs `rows`.
pub struct Runtime {
    http: Http,
    platform: String,
    main_schema: String,
    tenant_schema: String,
}

impl Runtime {
    /// Calls a function of the main database (no UUID) or of a tenant's; the rows, or what it throws.
    pub fn call(&self, uuid: Option<&str>, function: &str, params: Value) -> Result<Vec<Value>, String> {
        let schema = if uuid.is_some() { &self.tenant_schema } else { &self.main_schema };
        let body = json!({"platform": self.platform, "schema_name": schema, "uuid": uuid, "function": function, "params": params});
        let headers = [("Content-Type", "application/json"), ("Accept", "application/json")];
        let answer = self.http.try_request("POST", "/call", &headers, body.to_string().as_bytes());
        let answer = answer.map_err(|e| e.to_string())?;
        if answer.status != 200 {
            return Err(format!("HTTP {}: {} - {}", answer.status, answer.json["error"], answer.json["message"]));
        }
        answer.json["rows"].as_array().cloned().ok_or_else(|| format!("missing rows field: {answer}"))
    }
}
