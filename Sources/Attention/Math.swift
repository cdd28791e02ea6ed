import Glibc

/// Natural logarithm, so that no other file needs the C library.
func logarithm(_ x: Double) -> Double { log(x) }
/// e to the power of x, for the same reason.
func exponential(_ x: Double) -> Double { exp(x) }
