public import Foundation

/// What the checks before a job's start found.
extension JobFolder {
    private var doctor: URL { url.appending(path: "doctor.json") }

    /// A server keeps a report in memory and gives it to whoever may ask.
    private static let mostReportBytes = 1 << 20

    /// Keeps a report, for `/doctor` and for people who read the folder; JSON.
    func keep(doctorReport report: Data) throws { try report.write(to: doctor, options: .atomic) }

    /// The report that was kept; nil where none was, or where the file is larger than
    /// `mostReportBytes`. Nothing examines its content.
    public func doctorReport() -> Data? {
        guard let file = try? FileHandle(forReadingFrom: doctor),
            let bytes = try? file.read(upToCount: Self.mostReportBytes + 1),
            bytes.count <= Self.mostReportBytes
        else { return nil }
        return bytes
    }
}
