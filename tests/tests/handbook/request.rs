//! Requests and answers as documents show them:
//!
//! ```text
//! POST /call
//! X-Timeout-Ms: 500
//!
//! {"platform": "shop", "function": "get_product", "params": [1]}
//!
//! 200 OK
//! {"rows":[…],"row_count":1,"execution_time_ms":2}
//! ```
//!
//! Lines `name=value` in the place of the body are a form, `name=@file` a file in it. After the status there may be headers too; others
//! that the answer has do not count.

/// A request, and the answer that is shown, if one is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    pub method: String,
    pub target: String,
    pub headers: Vec<String>,
    pub body: String,
    pub answer: Option<Answer>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<String>,
    pub body: String,
}

impl Exchange {
    /// Whether the body is a form.
    pub fn is_form(&self) -> bool {
        !self.body.starts_with(['{', '[']) && self.body.contains('=')
    }
}

fn request_line(line: &str) -> Option<(&str, &str)> {
    let (method, target) = line.split_once(' ')?;
    (["GET", "HEAD", "OPTIONS", "POST"].contains(&method) && target.starts_with('/')).then_some((method, target))
}

fn status_line(line: &str) -> Option<u16> {
    let (status, reason) = line.split_once(' ')?;
    (status.len() == 3 && reason.starts_with(char::is_alphabetic)).then(|| status.parse().ok())?
}

fn is_header(line: &str) -> bool {
    line.split_once(": ")
        .is_some_and(|(name, _)| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
}

/// The exchanges of a block.
///
/// # Panics
/// Where the first line is no request.
pub fn exchanges(text: &str) -> Vec<Exchange> {
    let mut exchanges: Vec<Exchange> = Vec::new();
    for line in text.lines() {
        if let Some((method, target)) = request_line(line) {
            exchanges.push(Exchange { method: method.into(), target: target.into(), ..Exchange::default() });
            continue;
        }
        let exchange = exchanges.last_mut().unwrap_or_else(|| panic!("{line:?} is no request"));
        if exchange.answer.is_none()
            && let Some(status) = status_line(line)
        {
            exchange.answer = Some(Answer { status, ..Answer::default() });
            continue;
        }
        let (headers, body) = match &mut exchange.answer {
            Some(answer) => (&mut answer.headers, &mut answer.body),
            None => (&mut exchange.headers, &mut exchange.body),
        };
        if body.is_empty() && is_header(line) {
            headers.push(line.into());
        } else if !line.is_empty() || !body.is_empty() {
            body.push_str(line);
            body.push('\n');
        }
    }
    exchanges
}

#[test]
fn exchanges_are_taken_apart() {
    let text = "GET /call/a/b?c=d\nIf-None-Match: \"x\"\n\n304 Not Modified\nETag: \"x\"\n\nPOST /register\n\na=b\nc=@d\n\n200 OK\n{\"a\":1}\n";
    let [get, post] = &exchanges(text)[..] else { panic!("two exchanges") };
    assert_eq!((get.headers.len(), get.body.as_str(), get.is_form()), (1, "", false));
    assert_eq!(get.answer, Some(Answer { status: 304, headers: vec!["ETag: \"x\"".into()], body: String::new() }));
    assert!(post.is_form() && post.body == "a=b\nc=@d\n\n", "{post:?}");
    assert_eq!(post.answer.as_ref().map(|answer| answer.body.as_str()), Some("{\"a\":1}\n"));
}
