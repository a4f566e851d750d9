//! Vouchers of a hotspot: made, told, taken back.

use ring::rand::{SecureRandom as _, SystemRandom};

use super::Hotspot;
use super::forget::Forget;
use crate::limits::VOUCHERS_MAX;
use crate::refusal::Refused;
use crate::session::{End, Pass, Quota};
use crate::store::Write;
use crate::voucher::{Code, SEED_BYTES, Voucher};

impl Hotspot {
    /// All vouchers with their passes, by their codes' hashes.
    pub fn vouchers(&self) -> Vec<(String, Voucher, Option<Pass>)> {
        let state = self.state();
        let all = state.vouchers.iter().map(|(hash, voucher)| {
            let pass = state.table.pass(&voucher.login(hash).key);
            (hash.clone(), voucher.clone(), pass.cloned())
        });
        all.collect()
    }

    /// Makes vouchers; their codes, which are told this once.
    ///
    /// # Errors
    /// No room, or the disk.
    pub fn make_vouchers(
        &self,
        many: u16,
        quota: Quota,
        good_seconds: u64,
        batch: &str,
    ) -> Result<Vec<Code>, Refused> {
        let mut state = self.state();
        while state.vouchers.len() + usize::from(many) > VOUCHERS_MAX {
            if self.forget(&mut state, Forget::All) == 0 {
                return Err(Refused::Full);
            }
        }
        let voucher = Voucher {
            quota,
            good_until: self.clock.now().saturating_add(good_seconds),
            batch: batch.to_owned(),
        };
        let mut codes = Vec::new();
        for _ in 0..many {
            let mut seed = [0; SEED_BYTES];
            let drawn = SystemRandom::new().fill(&mut seed);
            drawn.map_err(|_| Refused::Store)?;
            codes.push(Code::of(seed));
        }
        let hashes: Vec<String> = codes.iter().map(Code::hash).collect();
        let writes = hashes.iter().map(|hash| Write::Voucher(hash, &voucher));
        let written = self.store.write(&writes.collect::<Vec<_>>());
        written.map_err(|error| self.failed(&error))?;
        let with_voucher = |hash| (hash, voucher.clone());
        state.vouchers.extend(hashes.into_iter().map(with_voucher));
        Ok(codes)
    }

    /// Takes a voucher back, and ends who uses it.
    ///
    /// # Errors
    /// There is none, or the disk.
    pub async fn withdraw(&self, hash: &str) -> Result<(), Refused> {
        let (key, clients) = {
            let mut state = self.state();
            let voucher = state.vouchers.remove(hash).ok_or(Refused::NotFound)?;
            let key = voucher.login(hash).key;
            let clients = state.table.on(&key).to_vec();
            (key, clients)
        };
        for client in clients {
            self.end(client, End::Operator).await;
        }
        let mut state = self.state();
        state.table.forget(&key);
        let written = self
            .store
            .write(&[Write::NoVoucher(hash), Write::NoPass(&key)]);
        written.map_err(|error| self.failed(&error))
    }
}
