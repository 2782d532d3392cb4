//! Who may ask, and for how long.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Extension,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
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
    /// TCP; whoever shows this token is the node's user.
    Tcp(Arc<str>),
}

impl Entrance {
    pub(super) fn tcp(token: &str) -> Self {
        Self::Tcp(token.into())
    }
}

/// Who asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asker {
    /// The node's user: by the socket, or with the token.
    Owner,
    /// Any program of this machine, of any user.
    Anybody,
}

/// Refuses requests of strangers and of other people's pages, and tells those behind it who asks.
pub(super) async fn admit(State(entrance): State<Entrance>, mut request: Request, next: Next) -> Response {
    match admitted(&entrance, request.method(), request.headers()) {
        Ok(asker) => {
            request.extensions_mut().insert(asker);
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    }
}

/// Refuses to show the user's plans to anybody else: a name that is to be registered, and the signed reveal of it,
/// would let others commit to it first.
pub(super) async fn owner_only(Extension(asker): Extension<Asker>, request: Request, next: Next) -> Response {
    match asker {
        Asker::Owner => next.run(request).await,
        Asker::Anybody => token_needed("operations are shown over TCP with this node's token only").into_response(),
    }
}

fn admitted(entrance: &Entrance, method: &Method, headers: &HeaderMap) -> Result<Asker, Refusal> {
    let Entrance::Tcp(expected) = entrance else { return Ok(Asker::Owner) };
    host_is_local(headers)?;
    origin_is_local(headers)?;
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match headers.get(header::AUTHORIZATION) {
        Some(shown) if is_token(expected, shown) => Ok(Asker::Owner),
        _ if reads => Ok(Asker::Anybody),
        _ => Err(token_needed("writing over TCP needs this node's token")),
    }
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

fn is_token(expected: &str, shown: &HeaderValue) -> bool {
    let shown = shown.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
    shown.is_some_and(|shown| token::equal(shown.trim(), expected))
}

pub(super) fn token_needed(message: &str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "token_needed", message)
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

    fn check(method: Method, pairs: &[(&str, &str)], expected: Result<Asker, u16>) {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(name.parse::<header::HeaderName>().expect("a name"), value.parse().expect("a value"));
        }
        let got = admitted(&Entrance::tcp("secret"), &method, &headers);
        let got = got.map_err(|refusal| refusal.into_response().status().as_u16());
        assert_eq!(got, expected, "{method} {pairs:?}");
        assert!(matches!(admitted(&Entrance::Socket, &method, &headers), Ok(Asker::Owner)));
    }

    #[test]
    fn strangers_are_refused() {
        let local = ("host", "127.0.0.1:8353");
        check(Method::GET, &[local], Ok(Asker::Anybody));
        check(Method::GET, &[("host", "localhost")], Ok(Asker::Anybody));
        check(Method::GET, &[("host", "[::1]:8353")], Ok(Asker::Anybody));
        check(Method::GET, &[], Err(403));
        check(Method::GET, &[("host", "evil.example")], Err(403));
        check(Method::GET, &[("host", "127.0.0.1.evil.example:8353")], Err(403));
        check(Method::GET, &[local, ("origin", "http://localhost:8353")], Ok(Asker::Anybody));
        check(Method::GET, &[local, ("origin", "https://evil.example")], Err(403));
        check(Method::GET, &[local, ("origin", "null")], Err(403));
        check(Method::POST, &[local], Err(401));
        check(Method::POST, &[local, ("authorization", "Bearer wrong")], Err(401));
        check(Method::POST, &[local, ("authorization", "Bearer secret")], Ok(Asker::Owner));
        check(Method::GET, &[local, ("authorization", "Bearer secret")], Ok(Asker::Owner));
        check(Method::GET, &[local, ("authorization", "Bearer wrong")], Ok(Asker::Anybody));
        check(Method::GET, &[local, ("authorization", "secret")], Ok(Asker::Anybody));
        check(Method::POST, &[local, ("authorization", "Bearer secret"), ("origin", "http://a.b")], Err(403));
    }
}
