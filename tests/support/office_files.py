"""Documents made for tests: PDF, Word, PowerPoint, EPUB and OpenDocument, whole or with members of one's own."""

from __future__ import annotations

import io
import zipfile


def pdf(
    *pages: str, title: str = "", password: str | None = None, bookmarks: tuple[tuple[int, str, str], ...] = ()
) -> bytes:
    """Write pages of text with a standard font, a line a line."""
    from pypdf import PdfWriter
    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

    writer = PdfWriter()
    font = {"/Type": "/Font", "/Subtype": "/Type1", "/BaseFont": "/Helvetica", "/Encoding": "/WinAnsiEncoding"}
    reference = writer._add_object(DictionaryObject({NameObject(key): NameObject(name) for key, name in font.items()}))
    for text in pages:
        page = writer.add_blank_page(400, 800)
        lines = "".join(f"({line}) Tj 0 -20 Td " for line in text.split("\n")) if text else ""
        stream = DecodedStreamObject()
        stream.set_data(f"BT /F 12 Tf 40 760 Td {lines}ET".encode("cp1252"))
        fonts = DictionaryObject({NameObject("/F"): reference})
        page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
        page[NameObject("/Contents")] = writer._add_object(stream)
    made = {"": None}
    for number, name, above in bookmarks:
        made[name] = writer.add_outline_item(title=name, page_number=number - 1, parent=made[above])
    if title:
        writer.add_metadata({"/Title": title, "/Author": "Ann"})
    if password is not None:
        writer.encrypt(password, "owner", algorithm="RC4-128")
    made = io.BytesIO()
    writer.write(made)
    return made.getvalue()


def docx(build=lambda document: None) -> bytes:
    """Return what python-docx saves of a document that was built on."""
    from docx import Document

    document = Document()
    build(document)
    made = io.BytesIO()
    document.save(made)
    return made.getvalue()


WORD = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def docx_of(body: str, **members: str) -> bytes:
    return replaced(
        docx(), {"word/document.xml": f"<w:document {WORD}><w:body>{body}</w:body></w:document>", **members}
    )


def replaced(archive: bytes, members: dict[str, str | bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            if info.filename not in members:
                new.writestr(info, old.read(info))
        for name, content in members.items():
            new.writestr(name, content)
    return made.getvalue()


def run(text: str) -> str:
    return f"<w:r><w:t>{text}</w:t></w:r>"


def pptx(build=lambda presentation: None) -> bytes:
    """Return what python-pptx saves of a presentation that was built on."""
    from pptx import Presentation

    presentation = Presentation()
    build(presentation)
    made = io.BytesIO()
    presentation.save(made)
    return made.getvalue()


CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="OEBPS/book.opf"/></rootfiles></container>'
)
PACKAGE = """<package xmlns="http://www.idpf.org/2007/opf"><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:title>On Cats</dc:title><dc:creator>Ann</dc:creator></metadata><manifest>
<item id="two" href="t%20two.xhtml" media-type="application/xhtml+xml"/>
<item id="one" href="one.xhtml" media-type="application/xhtml+xml"/>
<item id="toc" href="toc.ncx" media-type="application/x-dtbncx+xml"/>
<item id="pic" href="a.png" media-type="image/png"/>
</manifest><spine><itemref idref="one"/><itemref idref="two"/><itemref idref="pic"/></spine></package>"""
CONTENTS = """<!DOCTYPE ncx><ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap><navPoint><navLabel><text>Second</text>
</navLabel><content src="t%20two.xhtml#start"/></navPoint></navMap></ncx>"""
PAGE = "<html xmlns='http://www.w3.org/1999/xhtml'><body><p>{}</p></body></html>"


def zipped(members: dict[str, str | bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


def epub(**members: str | bytes) -> bytes:
    book = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": CONTAINER,
        "OEBPS/book.opf": PACKAGE,
        "OEBPS/toc.ncx": CONTENTS,
        "OEBPS/one.xhtml": PAGE.format("Cats&nbsp;sleep."),
        "OEBPS/t two.xhtml": PAGE.format("Björn reads.").encode("utf-16"),
    }
    return zipped({**book, **members})


OFFICE = "urn:oasis:names:tc:opendocument:xmlns"
ODF = " ".join(f'xmlns:{name}="{OFFICE}:{name}:1.0"' for name in ("office", "text", "table", "drawing", "presentation"))
ODT = f"""<office:document-content {ODF}><office:body><office:text>
<text:h text:outline-level="2">Cats</text:h><text:p>They<text:s text:c="2"/>sleep<text:note><text:note-citation>1
</text:note-citation><text:note-body><text:p>All day.</text:p></text:note-body></text:note>,
<text:span>yes</text:span>.</text:p>
<text:list><text:list-item><text:p>fish</text:p><text:list><text:list-item><text:p>raw</text:p></text:list-item>
</text:list>
</text:list-item></text:list><table:table><table:table-row><table:table-cell><text:p>a</text:p></table:table-cell>
<table:table-cell><text:p>b</text:p></table:table-cell></table:table-row></table:table>
<text:tracked-changes><text:p>gone</text:p></text:tracked-changes></office:text></office:body>
</office:document-content>"""
ODP = f"""<office:document-content {ODF}><office:body><office:presentation>
<drawing:page><text:p>One</text:p></drawing:page>
<drawing:page><text:p>Two</text:p><presentation:notes><text:p>slowly</text:p></presentation:notes></drawing:page>
</office:presentation></office:body></office:document-content>"""


def odf(content: str, kind: str = "text") -> dict[str, str | bytes]:
    meta = '<m xmlns:dc="urn:dc"><dc:title>T</dc:title><dc:creator>Ann</dc:creator></m>'
    return {"mimetype": f"application/vnd.oasis.opendocument.{kind}", "content.xml": content, "meta.xml": meta}


def sound(name: str) -> bytes:
    made = {"a.docx": docx, "a.pptx": pptx, "a.epub": epub, "a.odt": lambda: zipped(odf(ODT))}
    return made[name]()
