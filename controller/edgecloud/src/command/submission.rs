//! Manifests at the authority: a token, or an offer.

use std::path::Path;

use data_encoding::BASE64URL_NOPAD;
use manifest::{Acceptance, Offer, Signed, Submission, Token};
use serde_json::{Value, json};

use super::documents::{beside, digest_of, read_manifest};
use crate::arguments::{Accept, Authority, ImageArgument, Submit};
use crate::failure::Failure;
use crate::files;
use crate::http::{Answer, ask_authority};
use crate::report::{Report, cell};

const CREATED: u16 = 201;
const CONFLICT: u16 = 409;

pub(crate) async fn submit(submit: Submit) -> Result<Report, Failure> {
    let Submit {
        manifest: path,
        key,
        host,
        image,
        holder,
        authority,
    } = submit;
    let manifest = read_manifest(&path)?;
    let key = files::read_key(&key)?;
    if *manifest.publisher() != key.public() {
        let cause = format!(
            "the publisher is {}, and the key's public half {}; give the publisher's key",
            manifest.publisher(),
            key.public()
        );
        return Err(files::document(&path, cause));
    }
    let image = match image {
        ImageArgument::Digest(digest) => digest,
        ImageArgument::File(elf) => digest_of(&elf)?,
    };
    let submission = Submission::new(Signed::sign(manifest, &key), host, image, holder)
        .map_err(|error| Failure::Wrong(error.to_string()))?;
    let signed = Signed::sign(submission, &key);
    let body = json!({ "submission": BASE64URL_NOPAD.encode(signed.bytes()) });
    let answer = ask_authority(&authority, "/v1/manifests", &body).await?;
    reply(answer, &path, &authority)
}

pub(crate) async fn accept(accept: &Accept) -> Result<Report, Failure> {
    let (path, authority) = (accept.offer.as_path(), &accept.authority);
    let bytes = files::read_document(path)?;
    let offer = Signed::<Offer>::open(&bytes, &[authority.authority_key])
        .map_err(|error| files::document(path, error.to_string()))?;
    let key = files::read_key(&accept.key)?;
    let offer = offer.document().digest();
    let publisher = key.public();
    let signed = Signed::sign(Acceptance { offer, publisher }, &key);
    let body = json!({ "acceptance": BASE64URL_NOPAD.encode(signed.bytes()) });
    let at = format!("/v1/offers/{offer}/acceptance");
    reply(ask_authority(authority, &at, &body).await?, path, authority)
}

/// Keeps what the authority signed, if it is really by its key.
fn reply(answer: Answer, path: &Path, authority: &Authority) -> Result<Report, Failure> {
    if answer.status == CONFLICT {
        let body = answer.json()?;
        if body["offer"]["signed"].is_string() {
            return offer(&body["offer"], path, authority);
        }
    }
    let answer = answer.accepted()?;
    let body = answer.json()?;
    if answer.status != CREATED {
        return Err(nonsense("neither a token nor an offer"));
    }
    token(&body["tokens"][0], path, authority)
}

fn token(told: &Value, path: &Path, authority: &Authority) -> Result<Report, Failure> {
    let bytes = decoded(&told["token"])?;
    let signed = Signed::<Token>::open(&bytes, &[authority.authority_key])
        .map_err(|error| nonsense(&error.to_string()))?;
    let out = beside(path, "token");
    files::write(&out, &bytes)?;
    let token = signed.document();
    let (serial, expires) = (token.serial().0, token.expires().to_string());
    let rules = token.grants().iter().map(|grant| grant.rule.to_string());
    let rules: Vec<_> = rules.collect();
    let text = format!(
        "{}\ntoken {serial} for application {}, until {expires}\ngranted:\n  {}",
        out.display(),
        token.number().get(),
        rules.join("\n  "),
    );
    let document = json!({
        "token": out,
        "serial": serial,
        "application": token.number().get(),
        "expires": expires,
        "grants": rules,
    });
    Ok(Report::new(document, text))
}

fn offer(told: &Value, path: &Path, authority: &Authority) -> Result<Report, Failure> {
    let bytes = decoded(&told["signed"])?;
    let signed = Signed::<Offer>::open(&bytes, &[authority.authority_key])
        .map_err(|error| nonsense(&error.to_string()))?;
    let out = beside(path, "offer");
    files::write(&out, &bytes)?;
    let answers = signed.document().answers.iter().enumerate();
    let told = answers.map(|(index, answer)| {
        let rule = answer.outcome.rule().map(ToString::to_string);
        json!({
            "index": index,
            "outcome": answer.outcome.as_str(),
            "rule": rule,
            "price": answer.outcome.price().map(ToString::to_string),
            "policy": answer.policy,
            "reason": answer.reason,
        })
    });
    let answers: Vec<Value> = told.collect();
    let acceptable = !signed.document().grants().is_empty();
    let mut text = format!("{}\n", out.display());
    for answer in &answers {
        let line = ["index", "outcome", "rule"].map(|member| cell(&answer[member]));
        let price = answer["price"].as_str();
        let price = price.map_or(String::new(), |price| format!("  for {price}"));
        text += &format!("  {}{price}\n", line.join("  "));
        let because = ["policy", "reason"].map(|member| cell(&answer[member]));
        text += &format!("      by {}: {}\n", because[0], because[1]);
    }
    text += match acceptable {
        true => "accept it with `edgecloud manifest accept`, or change the manifest",
        false => "nothing is granted: change the manifest",
    };
    let valid_until = signed.document().valid_until.to_string();
    let document = json!({
        "offer": out,
        "valid_until": valid_until,
        "acceptable": acceptable,
        "answers": answers,
    });
    Ok(Report::new(document, text).offered())
}

fn decoded(value: &Value) -> Result<Vec<u8>, Failure> {
    let text = value.as_str().unwrap_or_default();
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes());
    bytes.map_err(|_| nonsense("a document that is not base64url"))
}

fn nonsense(cause: &str) -> Failure {
    Failure::Nonsense {
        whom: "the authority",
        cause: cause.to_owned(),
    }
}
