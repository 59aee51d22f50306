//! A connection that an executor serves by itself.

use acceptance::wait::check;
use acceptance::{Answer, Http, Wire, eventually};
use serde_json::json;

pub struct Line {
    wire: Wire,
}

impl Line {
    /// A connection that has called `f` of a platform until an executor answered: who answers gives the request its id, which begins with
    /// the process's own.
    #[track_caller]
    pub fn settled(http: &Http, platform: &str) -> Line {
        let maker = |answer: &Answer| answer.header("x-request-id").and_then(|id| id.get(..16)).map(str::to_owned);
        let mut line = Line { wire: http.wire() };
        let call = http.call_bytes(platform, "f", &json!([]));
        eventually("an executor serves the connection", || {
            (0..40).for_each(|_| drop(line.exchange(&call).ok()));
            let answered_by = maker(&line.exchange(&call).ok());
            check(answered_by != maker(&http.get("/health")), "the server worker does")
        });
        line
    }

    /// Sends a request and reads its answer.
    #[track_caller]
    pub fn exchange(&mut self, request: &[u8]) -> Answer {
        self.wire.send(request).expect("the connection is kept");
        self.wire.read_answer("POST").expect("an answer")
    }
}
