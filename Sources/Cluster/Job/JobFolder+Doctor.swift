public import Foundation

/// What the checks before a job's start found.
extension JobFolder {
    private var doctor: URL { url.appending(path: "doctor.json") }

    /// More than checks of a thousand hosts say.
    private static let mostReportBytes = 16 << 20

    /// Keeps a report, for `/doctor` and for who looks into the folder; JSON.
    func keep(doctorReport report: Data) throws { try report.write(to: doctor, options: .atomic) }

    /// The report that was kept; nil where none was, or where the file is no report of ours.
    public func doctorReport() -> Data? {
        guard let file = try? FileHandle(forReadingFrom: doctor),
            let bytes = try? file.read(upToCount: Self.mostReportBytes + 1),
            bytes.count <= Self.mostReportBytes
        else { return nil }
        return bytes
    }
}
