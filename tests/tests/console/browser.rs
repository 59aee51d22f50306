//! A browser, driven by the WebDriver protocol (W3C) as chromedriver speaks it.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use acceptance::{Http, eventually};
use serde_json::{Value, json};

/// What is to be installed: Debian's packages chromium and chromium-driver.
const DRIVER: &str = "chromedriver";

/// A headless Chromium with a profile of its own, which goes when this does.
pub struct Browser {
    driver: Child,
    http: Http,
    session: String,
}

/// The size of the window, in CSS pixels, and what its user prefers.
#[derive(Clone, Copy)]
pub struct Window {
    pub width: u32,
    pub height: u32,
    pub dark: bool,
}

/// A screen on a desk.
pub const DESK: Window = Window { width: 1280, height: 860, dark: false };
/// A phone, held upright.
pub const PHONE: Window = Window { width: 400, height: 860, dark: true };

/// What the browser asked for.
#[derive(Debug)]
pub struct Request {
    pub url: String,
    /// As they came over the network, with the head of the answer; none if there was no answer.
    pub bytes: Option<f64>,
}

impl Browser {
    /// # Panics
    /// When there is no chromedriver, or it finds no browser.
    #[track_caller]
    pub fn start(window: Window) -> Browser {
        Browser::launch(window, json!({"browser": "ALL"}))
    }

    /// One that writes down what it asks the network for; see [`Browser::requests`].
    #[track_caller]
    pub fn watched(window: Window) -> Browser {
        Browser::launch(window, json!({"browser": "ALL", "performance": "ALL"}))
    }

    #[track_caller]
    fn launch(window: Window, logs: Value) -> Browser {
        let port = acceptance::ports::free();
        let driver = Command::new(DRIVER)
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("{DRIVER}: {e} (Debian: apt install chromium chromium-driver)"));
        let http = Http::new(port, None).timeout(Duration::from_secs(120));
        let mut browser = Browser { driver, http, session: String::new() };
        eventually("an answer of chromedriver", || {
            let status = browser.http.try_request("GET", "/status", &[], b"");
            match status {
                Ok(answer) if answer.json["value"]["ready"] == true => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
        let mut arguments = vec![
            "--headless=new".to_owned(),
            // The tests may run as root, and in containers without a large /dev/shm.
            "--no-sandbox".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-background-networking".to_owned(),
            "--no-first-run".to_owned(),
            "--hide-scrollbars".to_owned(),
            format!("--window-size={},{}", window.width, window.height),
        ];
        if window.dark {
            arguments.push("--force-dark-mode".to_owned());
            arguments.push("--blink-settings=preferredColorScheme=0".to_owned());
        }
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "timeouts": {"script": 110000}, "goog:chromeOptions": {"args": arguments}, "goog:loggingPrefs": logs}}});
        let answer = browser.http.post_json("/session", &wanted).ok();
        browser.session = format!("/session/{}", answer.json["value"]["sessionId"].as_str().expect("a session"));
        // Windows have a least width that no phone has: the page is shown as on one of this size.
        browser.command(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": window.width, "height": window.height,
            "deviceScaleFactor": 1, "mobile": window.width < 600}),
        );
        browser
    }

    /// A command of Chromium's own protocol.
    fn command(&self, name: &str, parameters: Value) -> Value {
        self.post("/goog/cdp/execute", json!({"cmd": name, "params": parameters}))
    }

    /// Lets no request through whose address fits one of the patterns, in which * stands for anything.
    #[track_caller]
    pub fn block(&self, patterns: &[&str]) {
        self.command("Network.enable", json!({}));
        self.command("Network.setBlockedURLs", json!({"urls": patterns}));
    }

    /// Processor time, in ms, that the thread of pages has spent: what a busy machine does not change. Another address may get another
    /// process, whose time begins anew; [`Browser::reload`] keeps it.
    #[track_caller]
    pub fn main_thread(&self) -> f64 {
        self.command("Performance.enable", json!({"timeDomain": "threadTicks"}));
        let found = self.command("Performance.getMetrics", json!({}));
        let metrics = found["metrics"].as_array().expect("figures");
        let spent = metrics.iter().find(|metric| metric["name"] == "TaskDuration").expect("TaskDuration");
        spent["value"].as_f64().expect("a number") * 1000.0
    }

    /// The requests of a browser that is [`Browser::watched`] since the last look.
    #[track_caller]
    pub fn requests(&self) -> Vec<Request> {
        let log = self.post("/se/log", json!({"type": "performance"}));
        let mut requests: Vec<(String, Request)> = Vec::new();
        for line in log.as_array().expect("a list") {
            let event: Value = serde_json::from_str(line["message"].as_str().expect("a text")).expect("JSON");
            let (name, about) = (&event["message"]["method"], &event["message"]["params"]);
            let id = about["requestId"].as_str().unwrap_or_default();
            if name == "Network.requestWillBeSent" {
                let url = about["request"]["url"].as_str().expect("an address").to_owned();
                requests.push((id.to_owned(), Request { url, bytes: None }));
            } else if name == "Network.loadingFinished"
                && let Some((_, request)) = requests.iter_mut().rfind(|(known, _)| known == id)
            {
                request.bytes = about["encodedDataLength"].as_f64();
            }
        }
        requests.into_iter().map(|(_, request)| request).collect()
    }

    #[track_caller]
    fn post(&self, path: &str, body: Value) -> Value {
        let answer = self.http.post_json(&format!("{}{path}", self.session), &body);
        assert_eq!(answer.status, 200, "{path} {body}: {answer}");
        answer.json["value"].clone()
    }

    /// Goes to an address and waits until the page is loaded.
    #[track_caller]
    pub fn go(&self, url: &str) {
        self.post("/url", json!({"url": url}));
    }

    /// Loads the page anew, and waits until it is loaded.
    #[track_caller]
    pub fn reload(&self) {
        self.post("/refresh", json!({}));
    }

    /// The value of an expression in the page; a promise is waited for.
    #[track_caller]
    pub fn eval(&self, expression: &str) -> Value {
        self.run(&format!("return ({expression})"))
    }

    /// What the body of an asynchronous function gives.
    #[track_caller]
    pub fn run(&self, body: &str) -> Value {
        let script = format!(
            "const done = arguments[arguments.length - 1]; \
             (async () => {{ {body} }})().then((value) => done({{value}}), (error) => done({{error: String(error.stack ?? error)}}))"
        );
        let answer = self.post("/execute/async", json!({"script": script, "args": []}));
        assert!(answer["error"].is_null(), "{body}: {}", answer["error"]);
        answer["value"].clone()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn until(&self, expression: &str) {
        eventually(expression, || match self.eval(&format!("Boolean({expression})")) {
            Value::Bool(true) => Ok(()),
            _ => Err(format!("the page has: {}", self.eval("document.body.innerText"))),
        });
    }

    /// Presses keys as a person does: in the element that has the focus.
    #[track_caller]
    pub fn keys(&self, keys: &[&str]) {
        let actions: Vec<Value> = keys
            .iter()
            .flat_map(|key| [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})])
            .collect();
        self.post("/actions", json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}));
    }

    /// Types a text into the element that has the focus.
    #[track_caller]
    pub fn text(&self, text: &str) {
        let keys: Vec<String> = text.chars().map(String::from).collect();
        self.keys(&keys.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// Chooses a file in an input element.
    #[track_caller]
    pub fn file(&self, selector: &str, path: &std::path::Path) {
        let element = self.post("/element", json!({"using": "css selector", "value": selector}));
        let id = element
            .as_object()
            .and_then(|element| element.values().next())
            .and_then(Value::as_str)
            .expect("an element");
        self.post(&format!("/element/{id}/value"), json!({"text": path.display().to_string()}));
    }

    /// What the console of the browser was told, of errors and warnings, since the last look.
    #[track_caller]
    pub fn complaints(&self) -> Vec<String> {
        let log = self.post("/se/log", json!({"type": "browser"}));
        let lines = log.as_array().expect("a list").iter();
        lines.filter(|line| line["level"] != "INFO").map(|line| line["message"].to_string()).collect()
    }

    /// Writes a picture of the page where `$SSDB_SCREENSHOTS` says, if it does: those of docs/console/ are made so.
    #[track_caller]
    pub fn picture(&self, name: &str) {
        let Some(folder) = std::env::var_os("SSDB_SCREENSHOTS") else { return };
        let answer = self.http.get(&format!("{}/screenshot", self.session)).ok();
        let picture = base64(answer.json["value"].as_str().expect("a picture"));
        std::fs::write(PathBuf::from(folder).join(format!("{name}.png")), picture).expect("the picture can be written");
    }
}

/// RFC 4648, section 4, the other way round.
fn base64(text: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut bytes = Vec::new();
    for chunk in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = chunk
            .iter()
            .enumerate()
            .fold(0_u32, |bits, (at, letter)| bits | u32::from(value(*letter)) << (18 - 6 * at));
        bytes.extend((0..chunk.len().saturating_sub(1)).map(|at| (bits >> (16 - 8 * at)) as u8));
    }
    bytes
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser is the driver's child, and ends with its session.
        if !self.session.is_empty() {
            let _ = self.http.try_request("DELETE", &self.session, &[], b"");
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
