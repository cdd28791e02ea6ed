import Glibc

// The functions of the C library that methods need, so that no other file of the room imports it.
// Whole rows and distributions (softmax, softplus, entropies) stand in `Algebra`, which is where a
// new formula looks first.

/// 10 to the power of x: the other way round from log10.
func tenTo(_ exponent: Double) -> Double { pow(10, exponent) }
/// e to the power of x; 0 for -infinity, +infinity above 709.8.
func exponential(_ x: Double) -> Double { exp(x) }
/// Natural logarithm; -infinity at 0, NaN below.
func logarithm(_ x: Double) -> Double { log(x) }
