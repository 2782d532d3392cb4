//! Who may ask, and for how long.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tokio::time::timeout;

use super::{error::Refusal, state::ApiState, token};

/// How long a request may take to the head of its answer.
const REQUEST_TIME: Duration = Duration::from_secs(30);

/// The way by which a request came in.
#[derive(Clone)]
pub(super) enum Entrance {
    /// The unix socket, whose permissions decide.
    Socket,
    /// TCP; writes show this token.
    Tcp(Arc<str>),
}

impl Entrance {
    pub(super) fn tcp(token: &str) -> Self {
        Self::Tcp(token.into())
    }
}

/// Refuses requests of strangers and of other people's pages.
pub(super) async fn admit(State(entrance): State<Entrance>, request: Request, next: Next) -> Response {
    match is_admitted(&entrance, request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn is_admitted(entrance: &Entrance, method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
    let Entrance::Tcp(expected) = entrance else { return Ok(()) };
    host_is_local(headers)?;
    origin_is_local(headers)?;
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if reads || token_is_shown(expected, headers) { Ok(()) } else { Err(token_needed()) }
}

fn host_is_local(headers: &HeaderMap) -> Result<(), Refusal> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if names_this_machine(host) {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::FORBIDDEN, "foreign_host", "the Host header does not name this machine")
        .why("A page elsewhere could otherwise reach this node through a name that it points here."))
}

fn origin_is_local(headers: &HeaderMap) -> Result<(), Refusal> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let authority = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://")).unwrap_or_default();
    if names_this_machine(authority) {
        return Ok(());
    }
    Err(Refusal::new(StatusCode::FORBIDDEN, "foreign_origin", "the request comes from a page of another site"))
}

/// Whether `host[:port]` is a loopback literal or `localhost`.
fn names_this_machine(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some(_) | None => authority,
    };
    matches!(host, "localhost" | "127.0.0.1" | "[::1]")
}

fn token_is_shown(expected: &str, headers: &HeaderMap) -> bool {
    let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    shown.and_then(|value| value.strip_prefix("Bearer ")).is_some_and(|shown| token::equal(shown.trim(), expected))
}

fn token_needed() -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "token_needed", "writing over TCP needs this node's token")
        .why("Any program and any page on this machine can connect here.")
        .fix("use the unix socket, or send `Authorization: Bearer` with the content of api.token")
}

/// Bounds the time, and counts the request under its route: raw paths would be an unbounded label.
pub(super) async fn time_and_count(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let started = Instant::now();
    let response = match timeout(REQUEST_TIME, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            Refusal::new(StatusCode::GATEWAY_TIMEOUT, "timeout", "the node did not answer in time").into_response()
        }
    };
    state.parts().metrics.api_request(&route, response.status().as_u16(), started.elapsed().as_secs_f64());
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: Method, pairs: &[(&str, &str)], expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(name.parse::<header::HeaderName>().expect("a name"), value.parse().expect("a value"));
        }
        let got = is_admitted(&Entrance::tcp("secret"), &method, &headers);
        let code = got.err().map(|refusal| refusal.into_response().status().as_u16().to_string());
        assert_eq!(code.as_deref(), expected, "{method} {pairs:?}");
        assert!(is_admitted(&Entrance::Socket, &method, &headers).is_ok());
    }

    #[test]
    fn strangers_are_refused() {
        let local = ("host", "127.0.0.1:8353");
        check(Method::GET, &[local], None);
        check(Method::GET, &[("host", "localhost")], None);
        check(Method::GET, &[("host", "[::1]:8353")], None);
        check(Method::GET, &[], Some("403"));
        check(Method::GET, &[("host", "evil.example")], Some("403"));
        check(Method::GET, &[("host", "127.0.0.1.evil.example:8353")], Some("403"));
        check(Method::GET, &[local, ("origin", "http://localhost:8353")], None);
        check(Method::GET, &[local, ("origin", "https://evil.example")], Some("403"));
        check(Method::GET, &[local, ("origin", "null")], Some("403"));
        check(Method::POST, &[local], Some("401"));
        check(Method::POST, &[local, ("authorization", "Bearer wrong")], Some("401"));
        check(Method::POST, &[local, ("authorization", "Bearer secret")], None);
        check(Method::POST, &[local, ("authorization", "Bearer secret"), ("origin", "http://a.b")], Some("403"));
    }
}
