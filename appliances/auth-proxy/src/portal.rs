//! What clients meet: captured requests are sent to the portal, which has pages, forms and the API of
//! RFC 8908.
//!
//! *Threats.* A redirection goes to the portal's address and nowhere else, whatever was asked for. Forms
//! count only with a field of our own pages ([`crate::csrf`]) and from our own site. Every answer forbids
//! to be stored, framed, or to run scripts. HTTPS that was meant for others is reset before a
//! byte is answered ([`edgecloud_appliance::OwnName`]), or carried on to whom a client meant, if that is free
//! ([`crate::onward`]): nobody here pretends to be another.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::FormRejection;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Extension, Form, Router};
use edgecloud_appliance::{Ends, Refusals};
use serde::Deserialize;

use crate::attempts::Who;
use crate::hotspot::{Hotspot, Proof};
use crate::language::Languages;
use crate::limits::{FORM_BYTES_MAX, NAME_BYTES_MAX, PASSWORD_BYTES_MAX};
use crate::page::{Offers, Pages, style};
use crate::probe;
use crate::radius::Radius;
use crate::refusal::Refused;
use crate::session::End;
use crate::settings::{Look, Portal};

/// What the portal's requests have in common.
#[derive(Debug)]
pub struct Lobby {
    /// The hotspot.
    pub hotspot: Arc<Hotspot>,
    /// The portal's address.
    pub portal: Portal,
    /// How pages look.
    pub look: Look,
    /// What they say.
    pub languages: Languages,
    /// Whether names and passwords are asked for.
    pub accounts: bool,
    /// Who knows the subscribers that the operator's list does not.
    pub radius: Option<Arc<Radius>>,
    /// Refuses.
    pub refusals: Refusals,
}

type Shared = State<Arc<Lobby>>;

const CAPPORT: &str = "application/captive+json";
/// RFC 8908, section 4.1, leaves the path to us; RFC 8910 tells it to clients.
const API_PATH: &str = "/captive-portal/api";

/// What clients are served.
pub fn router(lobby: Arc<Lobby>) -> Router {
    Router::new()
        .route("/", get(front))
        .route("/voucher", post(voucher))
        .route("/login", post(login))
        .route("/token", post(token))
        .route("/logout", post(log_out))
        .route(API_PATH, get(api))
        .route("/portal.css", get(stylesheet))
        .route("/logo.svg", get(logo))
        .fallback(nowhere)
        .method_not_allowed_fallback(nowhere)
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(&lobby), capture))
        .layer(middleware::map_response(guarded))
        .with_state(lobby)
}

/// Fields of every answer.
const GUARDS: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
];

async fn guarded(mut response: Response) -> Response {
    for (name, value) in GUARDS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The host that a request is for, in small letters and without a port.
fn host(request: &Request) -> String {
    let of_target = request.uri().host().map(str::to_owned);
    let of_field = || {
        let field = request.headers().get(header::HOST)?.to_str().ok()?;
        let authority: axum::http::uri::Authority = field.parse().ok()?;
        Some(authority.host().to_owned())
    };
    let host = of_target.or_else(of_field).unwrap_or_default();
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// Sends away what was meant for others.
async fn capture(
    State(lobby): Shared,
    Extension(ends): Extension<Ends>,
    request: Request,
    next: Next,
) -> Response {
    let host = host(&request);
    if host == lobby.portal.host {
        return next.run(request).await;
    }
    let pages = lobby.pages(request.headers());
    if lobby.hotspot.left(ends.client()).is_some() {
        if let Some(expected) = probe::expected(&host, request.uri().path()) {
            let kind = [(header::CONTENT_TYPE, expected.content_type)];
            return (expected.status, kind, expected.body).into_response();
        }
        let mut response = html(StatusCode::SERVICE_UNAVAILABLE, pages.again());
        let retry = HeaderValue::from_static("1");
        response.headers_mut().insert(header::RETRY_AFTER, retry);
        return response;
    }
    let mut response = match *request.method() {
        Method::GET | Method::HEAD => {
            let to = [(header::LOCATION, lobby.portal.url.as_str())];
            (StatusCode::FOUND, to, pages.captured(&lobby.portal.url)).into_response()
        }
        // RFC 6585, section 6: what was not meant to be repeated elsewhere.
        _ => html(
            StatusCode::NETWORK_AUTHENTICATION_REQUIRED,
            pages.captured(&lobby.portal.url),
        ),
    };
    let fields = response.headers_mut();
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    fields.insert(header::CONTENT_TYPE, kind);
    // The connection belongs to the address that the client meant, which it shall reach soon.
    fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn html(status: StatusCode, page: String) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (status, kind, page).into_response()
}

impl Lobby {
    fn pages(&self, fields: &HeaderMap) -> Pages<'_> {
        let accepted = fields.get(header::ACCEPT_LANGUAGE);
        let accepted = accepted.and_then(|value| value.to_str().ok());
        Pages {
            look: &self.look,
            language: self.languages.choose(accepted),
        }
    }

    fn field(&self, client: IpAddr) -> String {
        let now = self.hotspot.clock.now();
        self.hotspot.forms.field(client, now)
    }

    /// The login page, or the one of those who are let in.
    fn front(&self, fields: &HeaderMap, client: IpAddr, refused: Option<Refused>) -> Response {
        let pages = self.pages(fields);
        let field = self.field(client);
        let left = self.hotspot.left(client);
        if let (Some(left), None) = (left, refused) {
            return html(StatusCode::OK, pages.online(left, &field));
        }
        let offers = Offers {
            vouchers: true,
            accounts: self.accounts,
        };
        let status = refused.map_or(StatusCode::OK, edgecloud_appliance::Refusal::status);
        let page = pages.login(offers, &field, refused.map(Refused::text));
        html(status, page)
    }

    fn refused(&self, fields: &HeaderMap, ends: &Ends, refused: Refused) -> Response {
        self.refusals.note(refused, ends);
        self.front(fields, ends.client(), Some(refused))
    }

    /// Whether a form was made by our page and sent from there.
    fn check_form(&self, fields: &HeaderMap, field: &str, client: IpAddr) -> Result<(), Refused> {
        let now = self.hotspot.clock.now();
        let site = fields.get("sec-fetch-site").map(HeaderValue::as_bytes);
        let is_here = site.is_none_or(|site| site == b"same-origin" || site == b"none");
        match is_here && self.hotspot.forms.is_ours(field, client, now) {
            true => Ok(()),
            false => Err(Refused::StaleForm),
        }
    }

    /// What becomes of a form: the front page anew, or why not.
    fn answered(&self, fields: &HeaderMap, ends: &Ends, result: Result<(), Refused>) -> Response {
        match result {
            Ok(()) => (StatusCode::SEE_OTHER, [(header::LOCATION, "/")]).into_response(),
            Err(refused) => self.refused(fields, ends, refused),
        }
    }
}

async fn front(
    State(lobby): Shared,
    Extension(ends): Extension<Ends>,
    fields: HeaderMap,
) -> Response {
    lobby.front(&fields, ends.client(), None)
}

/// The client's end of the connection that it logs in by.
fn from(ends: &Ends) -> SocketAddr {
    (ends.client(), ends.peer.port()).into()
}

#[derive(Deserialize)]
struct VoucherForm {
    form: String,
    code: String,
}

async fn voucher(
    State(lobby): Shared,
    Extension(ends): Extension<Ends>,
    fields: HeaderMap,
    form: Result<Form<VoucherForm>, FormRejection>,
) -> Response {
    let redeem = async {
        let Form(form) = form.map_err(|_| Refused::Malformed)?;
        lobby.check_form(&fields, &form.form, ends.client())?;
        lobby.hotspot.redeem(from(&ends), &form.code).await
    };
    let result = redeem.await;
    lobby.answered(&fields, &ends, result)
}

#[derive(Deserialize)]
struct LoginForm {
    form: String,
    name: String,
    password: String,
}

async fn login(
    State(lobby): Shared,
    Extension(ends): Extension<Ends>,
    fields: HeaderMap,
    form: Result<Form<LoginForm>, FormRejection>,
) -> Response {
    let result = async {
        let Form(form) = form.map_err(|_| Refused::Malformed)?;
        lobby.check_form(&fields, &form.form, ends.client())?;
        let LoginForm { name, password, .. } = &form;
        let fits = name.len() <= NAME_BYTES_MAX && password.len() <= PASSWORD_BYTES_MAX;
        if !lobby.accounts || !fits {
            return Err(Refused::WrongAccount);
        }
        lobby.log_in(from(&ends), name, password).await
    };
    let result = result.await;
    lobby.answered(&fields, &ends, result)
}

impl Lobby {
    /// Who is on the operator's list is asked there, everybody else at RADIUS.
    async fn log_in(&self, from: SocketAddr, name: &str, password: &str) -> Result<(), Refused> {
        let client = from.ip();
        let account = Who::Account(name.to_owned());
        let password = password.as_bytes();
        let radius = self.radius.as_ref();
        let radius = radius.filter(|_| !self.hotspot.is_subscriber(name));
        let Some(radius) = radius else {
            let check = self.hotspot.subscribe(from, name, password);
            return self.hotspot.attempted(client, account, check).await;
        };
        let check = radius.log_in(client, name, password);
        let accepted = self.hotspot.attempted(client, account, check).await?;
        let interim_seconds = accepted.interim_seconds;
        let proof = Proof::Radius { interim_seconds };
        self.hotspot.begin(from, accepted.login, proof).await
    }
}

#[derive(Deserialize)]
struct TokenForm {
    token: String,
}

/// For apps, which have no page of ours: the token alone is the permission.
async fn token(
    State(lobby): Shared,
    Extension(ends): Extension<Ends>,
    fields: HeaderMap,
    form: Result<Form<TokenForm>, FormRejection>,
) -> Response {
    let bearer = fields.get(header::AUTHORIZATION);
    let bearer = bearer.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let token = match (bearer, &form) {
        (Some(token), _) => token,
        (None, Ok(Form(form))) => form.token.as_str(),
        (None, Err(_)) => return lobby.refusals.refuse(Refused::Malformed, &ends),
    };
    match lobby.hotspot.show(from(&ends), token).await {
        Ok(()) => lobby.status(ends.client()),
        Err(refused) => lobby.refusals.refuse(refused, &ends),
    }
}

#[derive(Deserialize)]
struct LogOutForm {
    form: String,
}

async fn log_out(
    State(lobby): Shared,
    Extension(ends): Extension<Ends>,
    fields: HeaderMap,
    form: Result<Form<LogOutForm>, FormRejection>,
) -> Response {
    let end = async {
        let Form(form) = form.map_err(|_| Refused::Malformed)?;
        lobby.check_form(&fields, &form.form, ends.client())?;
        lobby.hotspot.end(ends.client(), End::LoggedOut).await;
        Ok(())
    };
    let result = end.await;
    lobby.answered(&fields, &ends, result)
}

/// RFC 8908, section 4: over TLS only.
async fn api(State(lobby): Shared, Extension(ends): Extension<Ends>) -> Response {
    match ends.tls {
        true => lobby.status(ends.client()),
        false => lobby.refusals.refuse(Refused::NoPage, &ends),
    }
}

impl Lobby {
    /// What RFC 8908, section 5, tells of a client.
    fn status(&self, client: IpAddr) -> Response {
        let left = self.hotspot.left(client);
        let mut status = serde_json::json!({
            "captive": left.is_none(),
            "user-portal-url": self.portal.url,
        });
        if let Some(left) = left {
            status["seconds-remaining"] = left.seconds.into();
            status["can-extend-session"] = true.into();
            if let Some(bytes) = left.bytes {
                status["bytes-remaining"] = bytes.into();
            }
        }
        ([(header::CONTENT_TYPE, CAPPORT)], status.to_string()).into_response()
    }
}

async fn stylesheet(State(lobby): Shared) -> Response {
    ([(header::CONTENT_TYPE, "text/css")], style(&lobby.look)).into_response()
}

async fn logo(State(lobby): Shared, Extension(ends): Extension<Ends>) -> Response {
    match &lobby.look.logo_svg {
        Some(svg) => (
            [(header::CONTENT_TYPE, "image/svg+xml")],
            Body::from(svg.clone()),
        )
            .into_response(),
        None => lobby.refusals.refuse(Refused::NoPage, &ends),
    }
}

async fn nowhere(State(lobby): Shared, Extension(ends): Extension<Ends>) -> Response {
    lobby.refusals.refuse(Refused::NoPage, &ends)
}
