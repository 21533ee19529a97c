//! How functions are called.

use super::*;

/// System V and AAPCS64.
pub(super) struct Native {
    pub(super) arch: Arch,
    // Stack pointer at each call, by routine.
    pub(super) calls: Vec<HashMap<u64, Spot>>,
}

impl Native {
    fn registers(&self) -> (&'static [Reg], &'static [Reg]) {
        match self.arch {
            Arch::X86_64 => (x86::ARGUMENTS, x86::RESULTS),
            Arch::Aarch64 => (aarch64::ARGUMENTS, aarch64::RESULTS),
        }
    }
}

impl Convention for Native {
    fn results(&self) -> &[Reg] {
        self.registers().1
    }

    fn argument(&self, routine: usize, call: u64, parameter: Reg) -> Option<Reg> {
        let Some(spot) = Spot::of_slot(parameter) else { return Some(parameter) };
        let caller = self.calls.get(routine)?.get(&call)?;
        spot.is_argument().then(|| caller.plus(spot.offset() - pushed(self.arch)).slot())
    }

    fn external(&self, name: &str) -> Option<Vec<(Reg, Role)>> {
        let known = calls::known(name)?;
        let (registers, _) = self.registers();
        Some(registers.iter().copied().zip(known.arguments.iter().copied()).collect())
    }

    fn calls_back(&self, name: &str) -> Option<(Reg, Vec<(Reg, Reg)>)> {
        let calls::CallsBack { function, argument, parameter } = calls::calls_back(name)?;
        let (registers, _) = self.registers();
        let given = registers[argument..].iter().copied();
        Some((registers[function], registers[parameter..].iter().copied().zip(given).collect()))
    }

    fn captured(&self) -> Option<Reg> {
        Some(CAPTURED)
    }

    fn line(&self, _: u64) -> Option<String> {
        None
    }

    fn place(&self, place: u64) -> String {
        format!("{:#x}", place & ((1 << 40) - 1))
    }
}
