"""S3's error responses."""


class S3Error(Exception):
    """`code` and `status` as in S3's list of error codes."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.status = status
        self.code = code
