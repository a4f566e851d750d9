//! Mathematics (`math.h`), by the `libm` crate.

macro_rules! functions {
    ($($name:ident($($argument:ident),+): $type:ty;)+) => {
        $(
            /// As in the C standard, section 7.12.
            #[unsafe(no_mangle)]
            extern "C" fn $name($($argument: $type),+) -> $type {
                libm::$name($($argument),+)
            }
        )+
    };
}

functions! {
    acos(x): f64;
    acosf(x): f32;
    acosh(x): f64;
    acoshf(x): f32;
    asin(x): f64;
    asinf(x): f32;
    asinh(x): f64;
    asinhf(x): f32;
    atan(x): f64;
    atanf(x): f32;
    atanh(x): f64;
    atanhf(x): f32;
    cbrt(x): f64;
    cbrtf(x): f32;
    ceil(x): f64;
    ceilf(x): f32;
    cos(x): f64;
    cosf(x): f32;
    cosh(x): f64;
    coshf(x): f32;
    erf(x): f64;
    erff(x): f32;
    erfc(x): f64;
    erfcf(x): f32;
    exp(x): f64;
    expf(x): f32;
    exp10(x): f64;
    exp10f(x): f32;
    exp2(x): f64;
    exp2f(x): f32;
    expm1(x): f64;
    expm1f(x): f32;
    fabs(x): f64;
    fabsf(x): f32;
    floor(x): f64;
    floorf(x): f32;
    log(x): f64;
    logf(x): f32;
    log10(x): f64;
    log10f(x): f32;
    log1p(x): f64;
    log1pf(x): f32;
    log2(x): f64;
    log2f(x): f32;
    rint(x): f64;
    rintf(x): f32;
    round(x): f64;
    roundf(x): f32;
    roundeven(x): f64;
    roundevenf(x): f32;
    sin(x): f64;
    sinf(x): f32;
    sinh(x): f64;
    sinhf(x): f32;
    sqrt(x): f64;
    sqrtf(x): f32;
    tan(x): f64;
    tanf(x): f32;
    tanh(x): f64;
    tanhf(x): f32;
    tgamma(x): f64;
    tgammaf(x): f32;
    lgamma(x): f64;
    lgammaf(x): f32;
    trunc(x): f64;
    truncf(x): f32;
    atan2(x, y): f64;
    atan2f(x, y): f32;
    copysign(x, y): f64;
    copysignf(x, y): f32;
    fdim(x, y): f64;
    fdimf(x, y): f32;
    fmax(x, y): f64;
    fmaxf(x, y): f32;
    fmin(x, y): f64;
    fminf(x, y): f32;
    fmod(x, y): f64;
    fmodf(x, y): f32;
    hypot(x, y): f64;
    hypotf(x, y): f32;
    nextafter(x, y): f64;
    nextafterf(x, y): f32;
    pow(x, y): f64;
    powf(x, y): f32;
    remainder(x, y): f64;
    remainderf(x, y): f32;
    fma(x, y, z): f64;
    fmaf(x, y, z): f32;
}

/// Sine and cosine at once.
///
/// # Safety
/// Both pointers can be written through.
#[unsafe(no_mangle)]
unsafe extern "C" fn sincos(x: f64, sine: *mut f64, cosine: *mut f64) {
    let (s, c) = libm::sincos(x);
    // SAFETY: promised by the caller.
    unsafe { (sine.write(s), cosine.write(c)) };
}

/// Sine and cosine at once.
///
/// # Safety
/// Both pointers can be written through.
#[unsafe(no_mangle)]
unsafe extern "C" fn sincosf(x: f32, sine: *mut f32, cosine: *mut f32) {
    let (s, c) = libm::sincosf(x);
    // SAFETY: promised by the caller.
    unsafe { (sine.write(s), cosine.write(c)) };
}

/// `x` times 2 to the power of `exponent`.
#[unsafe(no_mangle)]
extern "C" fn ldexp(x: f64, exponent: i32) -> f64 {
    libm::ldexp(x, exponent)
}

/// The logarithm of the gamma function's absolute value, and its sign.
///
/// # Safety
/// `sign` can be written through.
#[unsafe(no_mangle)]
unsafe extern "C" fn lgamma_r(x: f64, sign: *mut i32) -> f64 {
    let (value, of) = libm::lgamma_r(x);
    // SAFETY: promised by the caller.
    unsafe { sign.write(of) };
    value
}

/// The logarithm of the gamma function's absolute value, and its sign.
///
/// # Safety
/// `sign` can be written through.
#[unsafe(no_mangle)]
unsafe extern "C" fn lgammaf_r(x: f32, sign: *mut i32) -> f32 {
    let (value, of) = libm::lgammaf_r(x);
    // SAFETY: promised by the caller.
    unsafe { sign.write(of) };
    value
}
