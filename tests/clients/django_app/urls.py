"""The project itself: an event stream, and a page to send events with."""

import django_eventstream
from django.http import HttpResponse, HttpResponseForbidden
from django.urls import include, path
from django_eventstream import send_event


def refuse_unsigned(get_response):
    """Refuse what does not come from the proxy: django-eventstream would stream by itself."""

    def middleware(request):
        if not request.grip.signed:
            return HttpResponseForbidden("not signed\n")
        return get_response(request)

    return middleware


def send(request):
    send_event("room", "message", request.body.decode(), async_publish=False)
    return HttpResponse(status=204)


urlpatterns = [
    path("events/", include(django_eventstream.urls), {"channels": ["room"]}),
    path("send/", send),
]
