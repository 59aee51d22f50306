//! A connection that an executor serves by itself.

use acceptance::{Answer, Http, Wire, eventually};
use serde_json::json;

pub struct Line {
    wire: Wire,
}

impl Line {
    /// A connection that has called `f` of a platform until an executor answered.
    #[track_caller]
    pub fn settled(http: &Http, platform: &str) -> Line {
        Line::try_settled(http, platform).unwrap_or_else(|| panic!("a call of {platform} was refused"))
    }

    /// The same; none if a call was refused before that. Who answers gives the request its id, which begins with the process's own.
    #[track_caller]
    pub fn try_settled(http: &Http, platform: &str) -> Option<Line> {
        let maker = |answer: &Answer| answer.header("x-request-id").and_then(|id| id.get(..16)).map(str::to_owned);
        let mut line = Line { wire: http.wire() };
        let call = http.call_bytes(platform, "f", &json!([]));
        let refused = eventually("an executor serves the connection", || {
            let answers: Vec<Answer> = (0..40).map(|_| line.exchange(&call)).collect();
            let refused = answers.iter().any(|answer| answer.status != 200);
            let by_executor = answers.last().is_some_and(|answer| maker(answer) != maker(&http.get("/health")));
            if refused || by_executor { Ok(refused) } else { Err("the server worker does".to_owned()) }
        });
        (!refused).then_some(line)
    }

    /// Sends a request and reads its answer.
    #[track_caller]
    pub fn exchange(&mut self, request: &[u8]) -> Answer {
        self.wire.send(request).expect("the connection is kept");
        self.wire.read_answer("POST").expect("an answer")
    }
}
