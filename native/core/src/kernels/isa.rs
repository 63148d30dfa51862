use super::lanes::{portable::Portable, Lanes};
use crate::{Error, Result};

/// An instruction set that kernels are built for. It is chosen when a [`super::Machine`] is made and passed along with it;
/// results have the same bits whichever it is (NaN payloads aside).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Isa {
    /// x86-64 with AVX-512 F, BW, DQ, VL and VNNI
    Avx512,
    /// x86-64 with AVX2, FMA and F16C
    Avx2,
    /// 64-bit ARM
    Neon,
    /// whatever the compiler makes of plain Rust: slow, always there
    Portable,
}

impl Isa {
    /// Every instruction set, fastest first.
    pub const ALL: [Isa; 4] = [Isa::Avx512, Isa::Avx2, Isa::Neon, Isa::Portable];

    /// The fastest one that this processor knows.
    pub fn detect() -> Isa {
        Isa::ALL.into_iter().find(|isa| isa.is_supported()).unwrap_or(Isa::Portable)
    }

    /// Whether this processor knows it and this build has it.
    pub fn is_supported(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
                    && Isa::Avx2.is_supported()
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c"),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            Isa::Portable => true,
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// A stable name, for options and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Isa::Avx512 => "avx512",
            Isa::Avx2 => "avx2",
            Isa::Neon => "neon",
            Isa::Portable => "portable",
        }
    }
}

/// A piece of a kernel, written once for all lanes. `run` must be `#[inline(always)]`, and so must all that it calls with
/// lanes: only what is inlined into the functions below is compiled for their instruction set.
pub(crate) trait Job {
    type Out;
    fn run<S: Lanes>(self, s: S) -> Self::Out;
}

/// An instruction set that was found on this processor.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found(Isa);

impl Found {
    pub(crate) fn check(isa: Isa) -> Result<Found> {
        if isa.is_supported() {
            return Ok(Found(isa));
        }
        Err(Error::bad(format!(
            "Cannot use the instruction set {}: this processor or build lacks it",
            isa.as_str()
        )))
    }

    pub(crate) fn isa(self) -> Isa {
        self.0
    }

    /// Whether AVX-512 is in use and this processor adds products of bfloat16 with it.
    pub(crate) fn has_bf16(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self.0 == Isa::Avx512 && is_x86_feature_detected!("avx512bf16");
        #[allow(unreachable_code)]
        false
    }

    /// Whether AVX-512 is in use and this processor adds products of bytes with it.
    pub(crate) fn has_vnni(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self.0 == Isa::Avx512 && is_x86_feature_detected!("avx512vnni");
        #[allow(unreachable_code)]
        false
    }

    /// Runs a job in this instruction set.
    #[inline]
    pub(crate) fn run<J: Job>(self, job: J) -> J::Out {
        match self.0 {
            // SAFETY: `check` found the instruction set on this processor.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => unsafe { avx512(job) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => unsafe { avx2(job) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => unsafe { neon(job) },
            _ => job.run(Portable),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn avx512<J: Job>(job: J) -> J::Out {
    // SAFETY: the caller found the instruction set.
    job.run(unsafe { super::lanes::avx512::Avx512::new() })
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn avx2<J: Job>(job: J) -> J::Out {
    // SAFETY: the caller found the instruction set.
    job.run(unsafe { super::lanes::avx2::Avx2::new() })
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "neon")]
unsafe fn neon<J: Job>(job: J) -> J::Out {
    // SAFETY: the caller found the instruction set.
    job.run(unsafe { super::lanes::neon::Neon::new() })
}
