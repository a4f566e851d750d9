//! The publisher of the free chat service: what it pays, what it is offered, and its users' tokens.

use anyhow::{Context as _, Result, ensure};
use site::{Operator, Place, Publisher};

/// What the operator asks for at first.
pub(crate) const PRICE: &str = "0.05 EUR per GB";

/// The publisher.
pub(crate) struct Chat<'p> {
    place: &'p Place<'p>,
    publisher: Publisher<'p>,
    image: String,
    /// Submissions so far: each has a name of its own.
    submitted: u32,
}

impl<'p> Chat<'p> {
    pub(crate) fn new(place: &'p Place<'p>) -> Result<Chat<'p>> {
        Ok(Chat {
            place,
            publisher: Publisher::new(place, "chat")?,
            image: place.image("hello")?,
            submitted: 0,
        })
    }

    /// How the authority knows it.
    pub(crate) fn as_publisher(&self) -> String {
        format!(
            "[[publishers]]\nkey = \"{}\"\nname = \"Chat\"\naccounts = [\"chat\"]\n\
             groups = [\"partners\"]\n",
            self.publisher.key()
        )
    }

    /// Submits that everybody may chat at its expense; what it is offered.
    pub(crate) fn submit(&mut self, operator: &Operator<'_>) -> Result<String> {
        self.submitted += 1;
        let name = self.name();
        let rules = "[[speak]]\nprotocols = [\"arp\", \"dns\"]\n[[admit]]\nfrom = \"clients\"\n\
                     to = { name = \"chat.example\", tcp = [80, 443] }\n\
                     [[serve]]\nas = \"edge.chat.example\"\ntcp = [443]\n";
        let manifest = format!(
            "name = \"{name}\"\npublisher = \"{}\"\nexpires = 9000-01-01T00:00:00Z\n{rules}\
             [bill]\naccount = \"chat\"\nfree-to-client = true\n",
            self.publisher.key()
        );
        self.place
            .write(&format!("{name}.toml"), manifest.as_bytes())?;
        let image = &self.image;
        let holder = operator.edgecloud(&format!("keygen {name}.holder.pem"))?;
        let offered = operator.edgecloud(&format!(
            "manifest submit {name}.toml --key chat.pem --host edge-1 --image {image} \
                 --holder {} || echo code=$?",
            holder.trim()
        ))?;
        ensure!(offered.ends_with("code=4\n"), "no offer: {offered}");
        Ok(offered)
    }

    /// Accepts what was offered last, and launches its edge, which makes the service free.
    pub(crate) fn accept(&self, operator: &Operator<'_>) -> Result<()> {
        let (name, image) = (self.name(), &self.image);
        operator.edgecloud(&format!(
            "manifest accept {name}.offer --key chat.pem
             {cli} image sign {image} --key chat.pem --name {name} --memory-mib 16 \
                 --out {name}.descriptor
             {cli} launch {image} --name {name} --token {name}.token --key {name}.holder.pem \
                 --descriptor {name}.descriptor",
            cli = operator.cli()
        ))?;
        operator.wait_for_state(&name, "live")
    }

    /// From submission to the free service.
    pub(crate) fn begin(&mut self, operator: &Operator<'_>) -> Result<()> {
        let offered = self.submit(operator)?;
        ensure!(offered.contains(PRICE), "another price: {offered}");
        self.accept(operator)
    }

    /// Its edge's name.
    pub(crate) fn name(&self) -> String {
        format!("chat-{}", self.submitted)
    }

    /// Its application's number.
    pub(crate) fn application(&self, operator: &Operator<'_>) -> Result<u64> {
        let domain = operator.domain(&self.name())?.context("no chat")?;
        domain["application"].as_u64().context("no number")
    }

    /// Makes the key of its users' tokens by openssl; the public one, as settings have it.
    pub(crate) fn token_key(&self) -> Result<String> {
        let key = self.place.run(
            "openssl genpkey -algorithm ed25519 -out \"$HERE/users.pem\" 2>/dev/null
             openssl pkey -in \"$HERE/users.pem\" -pubout -outform DER | tail -c 32 | base64",
        )?;
        Ok(key.trim().to_owned())
    }

    /// Tokens for its users, by openssl, good for five minutes.
    pub(crate) fn tokens(&self, count: usize, batch: &str) -> Result<Vec<String>> {
        let script = format!(
            "now=$(date +%s); part() {{ base64 -w0 | tr '+/' '-_' | tr -d '='; }}
             head=$(printf '{{\"alg\":\"EdDSA\",\"kid\":\"chat-1\"}}' | part)
             for id in $(seq {count}); do
                 body=$(printf '{{\"aud\":\"station\",\"nbf\":%d,\"exp\":%d,\"jti\":\"{batch}-%d\"}}' \
                     $now $((now + 300)) $id | part)
                 printf '%s.%s' $head $body >\"$HERE/signed\"
                 openssl pkeyutl -sign -rawin -inkey \"$HERE/users.pem\" -in \"$HERE/signed\" \
                     -out \"$HERE/signature\"
                 printf '%s.%s.%s\\n' $head $body $(part <\"$HERE/signature\")
             done"
        );
        let made = self.place.run(&script)?;
        Ok(made.lines().map(str::to_owned).collect())
    }
}
