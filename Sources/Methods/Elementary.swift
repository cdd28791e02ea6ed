import Glibc

/// Functions of the C library, so that no other file needs it.
func tenTo(_ exponent: Double) -> Double { pow(10, exponent) }
func exponential(_ x: Double) -> Double { exp(x) }
func logarithm(_ x: Double) -> Double { log(x) }
