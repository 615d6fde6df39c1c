/// Where the scales of a matrix in 4 bits lie, row-major `[outputs, inputs/32]`.
public struct StoredScales: Sendable {
    let file: MappedFile
    let bytes: Range<Int>
    /// How they are stored.
    public let format: ScaleFormat

    /// Scales of this format, in these bytes of a file.
    public init(_ file: MappedFile, bytes: Range<Int>, format: ScaleFormat) {
        self.file = file
        self.bytes = bytes
        self.format = format
    }
}

/// Why a piece of a weight could not be packed.
public enum PackingError: Error {
    /// The system refused the bytes, or the file became shorter.
    case file(FileError)
    /// The numbers cannot be used.
    case numbers(TensorError)
}
