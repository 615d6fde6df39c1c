/// Why bytes that a rank sent are refused; the connection to the rank then ends.
struct PutFault: Error, Equatable {
    /// What follows "it sent".
    let fact: String
}
